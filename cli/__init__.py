"""The command `saga`: what its commands do, print and exit with."""

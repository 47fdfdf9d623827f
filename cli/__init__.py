"""The command `saga`: what its commands ask, print and exit with."""

"""The steps: each one local transaction, written once, run by either coordinator."""

"""The steps of a saga: each is a local transaction, is written once, and is run by either coordinator."""

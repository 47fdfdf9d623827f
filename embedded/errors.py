"""The one way the stack says that something is in its way."""


class StackError(Exception):
    """Its message is the one line the user reads: what, which, why and what to do."""

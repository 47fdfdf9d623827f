"""The error with which the stack tells a user what prevents its work."""


class StackError(Exception):
    """Its message is the one line that the user reads: what, which, why and what to do."""

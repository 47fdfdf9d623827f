"""Fakes of what the parts of the system talk to."""

"""Tell the failures of a workflow's steps in words."""

from __future__ import annotations

from temporalio.exceptions import FailureError, is_cancelled_exception

_LONGEST = 300  # characters; errors may say anything


def text_of(error: FailureError) -> str:
    """The text of a failure, for a report. Raises the failure itself if it says that the workflow was cancelled."""
    if is_cancelled_exception(error):
        raise error
    return " ".join(str(error.cause or error).split())[:_LONGEST]

"""Name the headers of our own: brokers count attempts differently, and republishing loses their counts."""

from typing import Final

ATTEMPT: Final = "x-saga-attempt"
FIRST_EXCHANGE: Final = "x-saga-exchange"
FIRST_ROUTING_KEY: Final = "x-saga-routing-key"
FIRST_FAILED_AT: Final = "x-saga-first-failed-at"
FAILED_AT: Final = "x-saga-failed-at"
ERROR: Final = "x-saga-error"
REASON: Final = "x-saga-reason"
QUEUE: Final = "x-saga-queue"
DEAD_LETTER_ID: Final = "x-saga-dead-letter-id"

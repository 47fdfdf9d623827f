"""The outcomes of a choreographed saga: how each is paid for, and which events it leaves."""

from __future__ import annotations

PATHS = {
    "paid": ["OrderCreated", "PaymentApproved", "OrderPaid"],
    "declined": ["OrderCreated", "PaymentDeclined", "OrderCancelled"],
    "failed": ["OrderCreated", "PaymentFailed", "OrderFailed"],
}
METHODS = {"paid": "pm_card_visa", "declined": "pm_card_chargeDeclined", "failed": "pm_error"}  # that lead there

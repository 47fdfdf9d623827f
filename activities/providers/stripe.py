"""Stripe as the payment provider: one PaymentIntent a payment, opened, confirmed and refunded under keys of its own.

The intent is opened unconfirmed first: repeating that under the same idempotency key tells its id, also after every
answer was lost, so that a void can cancel it before or after the confirmation that captures the money.
See https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/payments/paymentintents/lifecycle.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import stripe
import structlog
from stripe import Charge, HTTPXClient, PaymentIntent, StripeClient

from activities.providers import VOIDED, ProviderUnavailable, RefundRefused
from activities.providers.stripe_requests import amount_of, metadata, options
from models.ids import minted_at
from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

# Stripe forgets an idempotency key after 24 hours at the earliest, and its search knows an intent after a minute or,
# in an outage, an hour: from this age of an order on (seconds), the search is asked before an intent is opened.
_KEY_KEPT: Final = 20 * 3600.0
_TEST_KEYS: Final = ("sk_test_", "rk_test_")

Answer = TypeVar("Answer")
_log = structlog.get_logger()


class StripeProvider:
    """Charges through Stripe; an answer takes at most `timeout` seconds, and `concurrency` requests run at once.

    With a test key, a payment without a payment method uses pm_card_visa. Errors never carry a key, a header or a
    body; whatever says that our account or key is misconfigured is ProviderUnavailable, lest it fail every order.
    """

    def __init__(
        self,
        api_key: str,
        *,
        timeout: float = 30.0,
        base_url: str | None = None,
        concurrency: int = 64,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # The library logs bodies, which hold client secrets, at DEBUG, and two lines a request at INFO.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._http = HTTPXClient(timeout=timeout)
        self._client = StripeClient(
            api_key,
            http_client=self._http,
            base_addresses={"api": base_url} if base_url else {},
            max_network_retries=0,  # whoever called us retries, and knows for how long
        )
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._default_method = "pm_card_visa" if api_key.startswith(_TEST_KEYS) else None

    async def run(self) -> None:
        """Hold connections open until cancelled."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self._http.close_async()  # type: ignore[no-untyped-call]

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Declined | Refused:
        """Open the payment's intent and confirm it, each at most once."""
        method = payment.payment_method or self._default_method
        if method is None:
            return Refused(order_id=payment.order_id, error="The payment names no payment method")
        try:
            intent = await self._open(payment, correlation_id)
        except stripe.InvalidRequestError as error:
            return Refused(order_id=payment.order_id, error=_message(error))
        outcome = _charge_outcome(payment, intent) or await self._confirm(payment, intent, method, correlation_id)
        _log.debug("provider_charge", payment_id=payment.id, correlation_id=correlation_id, intent_id=intent.id)
        return outcome

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged:
        """Cancel the payment's intent, opening it if need be: a cancelled intent can never be confirmed."""
        try:
            intent = await self._open(payment, correlation_id)
        except stripe.InvalidRequestError:
            # Stripe opens no intent for this payment, so it can't capture anything for it either.
            return Voided(order_id=payment.order_id)
        try:
            # Without a key of ours: a repetition does no harm, but a refusal replayed for a day would.
            intent = await self._ask(
                self._client.v1.payment_intents.cancel_async(intent.id, None, options(correlation_id))
            )
        except stripe.InvalidRequestError:
            intent = await self._retrieve(intent.id, correlation_id)
        match intent.status:
            case "canceled":
                return Voided(order_id=payment.order_id)
            case "succeeded":
                return Charged(order_id=payment.order_id, transaction_id=intent.id)
            case status:
                raise ProviderUnavailable(f"Stripe could not cancel intent {intent.id}, which is {status}; try again")

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Refund the whole intent under a key of its own; one that was refunded elsewhere counts as refunded."""
        try:
            refund = await self._ask(
                self._client.v1.refunds.create_async(
                    {"payment_intent": await self._intent_id(payment, correlation_id), "metadata": metadata(payment)},
                    options(correlation_id, key=f"{payment.id}-refund"),
                )
            )
            if refund.status != "succeeded":  # a repetition would only replay this first answer
                refund = await self._read(
                    self._client.v1.refunds.retrieve_async(refund.id, None, options(correlation_id))
                )
        except stripe.InvalidRequestError as error:
            if error.code == "charge_already_refunded":
                return Refunded(order_id=payment.order_id)
            raise RefundRefused(f"Stripe refuses to refund payment {payment.id}: {_message(error)}") from None
        match refund.status:
            case "succeeded":
                return Refunded(order_id=payment.order_id)
            case "failed" | "canceled":
                raise RefundRefused(f"Refund {refund.id} of payment {payment.id} is {refund.status} at Stripe")
            case status:
                raise ProviderUnavailable(f"Refund {refund.id} is {status} at Stripe; try again later")

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Declined | Refused | Voided | Refunded | None:
        """The state of the payment's intent; one that was never confirmed, or whose charge was refused, is None."""
        try:
            intent_id = await self._intent_id(payment, correlation_id)
        except stripe.InvalidRequestError as error:
            return Refused(order_id=payment.order_id, error=_message(error))
        intent = await self._retrieve(intent_id, correlation_id)
        if intent.status == "canceled":
            return Voided(order_id=payment.order_id)
        if isinstance(intent.latest_charge, Charge) and intent.latest_charge.refunded:
            return Refunded(order_id=payment.order_id)
        return _charge_outcome(payment, intent)

    async def _open(self, payment: Payment, correlation_id: str) -> PaymentIntent:
        """The payment's one intent, perhaps as it was when it was opened; raises InvalidRequestError if refused."""
        if self._may_be_forgotten(payment) and (known := await self._search(payment, correlation_id)):
            return known
        return await self._ask(
            self._client.v1.payment_intents.create_async(
                {
                    "amount": amount_of(payment),
                    "currency": payment.currency.lower(),
                    "metadata": metadata(payment),
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                },
                options(correlation_id, key=str(payment.id)),
            )
        )

    async def _confirm(
        self, payment: Payment, intent: PaymentIntent, method: str, correlation_id: str
    ) -> Charged | Declined | Refused:
        """Capture the money, unless a void has cancelled the intent."""
        refusal = None
        try:
            intent = await self._ask(
                self._client.v1.payment_intents.confirm_async(
                    intent.id,
                    {"payment_method": method, "off_session": True},
                    options(correlation_id, key=f"{payment.id}-confirm"),
                )
            )
        except stripe.CardError as error:
            return Declined(order_id=payment.order_id, reason=_message(error))
        except stripe.InvalidRequestError as error:
            # Cancelled, or confirmed before under a key since forgotten? The intent tells.
            refusal = _message(error)
            intent = await self._retrieve(intent.id, correlation_id)
        if outcome := _charge_outcome(payment, intent):
            return outcome
        if refusal is None or intent.status == "processing":
            raise ProviderUnavailable(f"Stripe's intent {intent.id} is {intent.status}, which settles nothing yet")
        return Refused(order_id=payment.order_id, error=refusal)

    async def _intent_id(self, payment: Payment, correlation_id: str) -> str:
        return payment.transaction_id or (await self._open(payment, correlation_id)).id

    async def _retrieve(self, intent_id: str, correlation_id: str) -> PaymentIntent:
        intents, request = self._client.v1.payment_intents, options(correlation_id)
        return await self._read(intents.retrieve_async(intent_id, {"expand": ["latest_charge"]}, request))

    async def _search(self, payment: Payment, correlation_id: str) -> PaymentIntent | None:
        query = f"metadata['payment_id']:'{payment.id}'"
        found = await self._read(
            self._client.v1.payment_intents.search_async({"query": query, "limit": 1}, options(correlation_id))
        )
        return found.data[0] if found.data else None

    def _may_be_forgotten(self, payment: Payment) -> bool:
        """Whether the key of an intent opened for this payment could have expired; True if its age isn't known."""
        minted = minted_at(payment.order_id)
        return minted is None or self._clock() - minted.timestamp() > _KEY_KEPT

    async def _read(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """As `_ask`, but a refusal says nothing about the payment: more likely the key is another account's."""
        try:
            return await self._ask(call)
        except stripe.InvalidRequestError as error:
            why = f"Stripe refuses to tell ({_message(error)}); is the key that of the account that was charged?"
        raise ProviderUnavailable(why)

    async def _ask(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """Stripe's answer; CardError and InvalidRequestError are answers too, any other is ProviderUnavailable."""
        try:
            async with self._slots, asyncio.timeout(self._timeout):
                return await call
        except (stripe.CardError, stripe.InvalidRequestError):
            raise
        except stripe.StripeError as error:
            # Not the error itself: what it was caused by holds the request, and that the Authorization header.
            why = f"{type(error).__name__}, HTTP status {error.http_status or 'none'}"
        except TimeoutError:
            why = f"no answer within {self._timeout} s"
        finally:
            call.close()  # if it was never started
        raise ProviderUnavailable(f"Stripe is unavailable ({why}); the same request may be repeated")


def _charge_outcome(payment: Payment, intent: PaymentIntent) -> Charged | Declined | Refused | None:
    """What this state of an intent says to a charge; None if it settles nothing."""
    match intent.status:
        case "succeeded":
            return Charged(order_id=payment.order_id, transaction_id=intent.id)
        case "canceled":
            return Refused(order_id=payment.order_id, error=VOIDED)
        case "requires_payment_method" if intent.last_payment_error:
            reason = intent.last_payment_error.message or "Declined"
            return Declined(order_id=payment.order_id, reason=reason)
        case _:
            return None


def _message(error: stripe.StripeError) -> str:
    return error.user_message or error.code or type(error).__name__

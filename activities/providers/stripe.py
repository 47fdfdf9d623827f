"""Stripe as the payment provider: one PaymentIntent a payment, opened, confirmed and refunded under keys of its own.

The intent is first opened without being confirmed. Opening it again with the same idempotency key returns its id, even
if every earlier answer was lost. So a void can cancel it before or after the confirmation, which captures the money.
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

from activities.providers import Mischarged, ProviderUnavailable, RefundRefused
from activities.providers.stripe_answers import charge_outcome, given_back, is_as_asked, message_of, own
from activities.providers.stripe_requests import amount_of, metadata, options
from models.ids import minted_at
from models.outcome import Charged, Declined, Refunded, Refused, Voided
from models.payment import Payment

# Stripe forgets an idempotency key after 24 hours at the earliest. Its search knows an intent after a minute, in an
# outage after an hour. For an order older than this (seconds), the search is asked before an intent is opened.
_KEY_KEPT: Final = 20 * 3600.0
_TEST_KEYS: Final = ("sk_test_", "rk_test_")

Result = TypeVar("Result")
_log = structlog.get_logger()


class StripeProvider:
    """Charges through Stripe. An answer takes at most `timeout` seconds; at most `concurrency` requests run at once.

    With a test key, a payment without a payment method uses pm_card_visa. Errors carry no key, header or body. An
    answer that says that our account or key is misconfigured is ProviderUnavailable: it must not fail every order.
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
            max_network_retries=0,  # the caller retries, and knows for how long
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

    async def charge(self, payment: Payment, *, correlation_id: str) -> Charged | Mischarged | Declined | Refused:
        """Open the payment's intent and confirm it, each at most once."""
        method = payment.payment_method or self._default_method
        if method is None:
            return Refused(order_id=payment.order_id, error="The payment names no payment method")
        try:
            intent = await self._open(payment, correlation_id)
        except stripe.InvalidRequestError as error:
            return Refused(order_id=payment.order_id, error=message_of(error))
        outcome = charge_outcome(payment, intent)
        if outcome is None and not is_as_asked(payment, intent):
            return await self._give_up(payment, intent, correlation_id)
        outcome = outcome or await self._confirm(payment, intent, method, correlation_id)
        _log.debug("provider_charge", payment_id=payment.id, correlation_id=correlation_id, intent_id=intent.id)
        return outcome

    async def void(self, payment: Payment, *, correlation_id: str) -> Voided | Charged | Mischarged:
        """Cancel the payment's intent, and open it first if there is none. A cancelled intent can't be confirmed."""
        try:
            intent = await self._open(payment, correlation_id)
        except stripe.InvalidRequestError:
            # Stripe refuses to open an intent for this payment, so it can't capture anything for it.
            return Voided(order_id=payment.order_id)
        try:
            # Without an idempotency key: repeating this does no harm, but Stripe would repeat a refusal for a day.
            intent = own(
                payment,
                await self._ask(self._client.v1.payment_intents.cancel_async(intent.id, None, options(correlation_id))),
                intent.id,
            )
        except stripe.InvalidRequestError:
            intent = await self._retrieve(payment, intent.id, correlation_id)
        match charge_outcome(payment, intent):
            case Charged() | Mischarged() as outcome:
                return outcome
            case _ if intent.status == "canceled":
                return Voided(order_id=payment.order_id)
        raise ProviderUnavailable(f"Stripe could not cancel intent {intent.id}, which is {intent.status}; try again")

    async def refund(self, payment: Payment, *, correlation_id: str) -> Refunded:
        """Refund the whole intent under a key of its own. An intent that was refunded elsewhere counts as refunded."""
        intent_id = await self._intent_id(payment, correlation_id)
        try:
            refund = await self._ask(
                self._client.v1.refunds.create_async(
                    {"payment_intent": intent_id, "metadata": metadata(payment)},
                    options(correlation_id, key=f"{payment.id}-refund"),
                )
            )
            if refund.status != "succeeded":  # a repetition would only replay this first answer
                refund = await self._read(
                    self._client.v1.refunds.retrieve_async(refund.id, None, options(correlation_id))
                )
        except stripe.InvalidRequestError as error:
            if error.code != "charge_already_refunded":
                raise RefundRefused(f"Stripe refuses to refund payment {payment.id}: {message_of(error)}") from None
            refund = None
        match refund.status if refund else "succeeded":
            case "failed" | "canceled" as status:
                raise RefundRefused(f"A refund of payment {payment.id} is {status} at Stripe")
            case "succeeded":
                # Ask the books how much was given back. The refund may be of another amount than was captured.
                intent = await self._retrieve(payment, intent_id, correlation_id)
                return given_back(payment, intent)
            case status:
                raise ProviderUnavailable(f"A refund of payment {payment.id} is {status} at Stripe; try again later")

    async def look_up(
        self, payment: Payment, *, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused | Voided | Refunded | None:
        """The state of the payment's intent; None if it was never confirmed, or if its charge was refused."""
        try:
            intent_id = await self._intent_id(payment, correlation_id)
        except stripe.InvalidRequestError as error:
            return Refused(order_id=payment.order_id, error=message_of(error))
        intent = await self._retrieve(payment, intent_id, correlation_id)
        if isinstance(intent.latest_charge, Charge) and intent.latest_charge.refunded:
            return given_back(payment, intent)
        outcome = charge_outcome(payment, intent)
        voided = intent.status == "canceled" and isinstance(outcome, Refused)
        return Voided(order_id=payment.order_id) if voided else outcome

    async def _open(self, payment: Payment, correlation_id: str) -> PaymentIntent:
        """The payment's one intent, perhaps in its first state. Raises InvalidRequestError if Stripe refuses it."""
        if self._may_be_forgotten(payment) and (known := await self._search(payment, correlation_id)):
            return known
        opened = await self._ask(
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
        return own(payment, opened)

    async def _give_up(self, payment: Payment, intent: PaymentIntent, correlation_id: str) -> Mischarged | Refused:
        """Void an intent that is not for what was asked for. It is never confirmed."""
        voided = await self.void(payment, correlation_id=correlation_id)
        if isinstance(voided, Mischarged):
            return voided
        error = f"Stripe opened intent {intent.id} for {intent.amount} {intent.currency}, which was not asked for"
        return Refused(order_id=payment.order_id, error=error)

    async def _confirm(
        self, payment: Payment, intent: PaymentIntent, method: str, correlation_id: str
    ) -> Charged | Mischarged | Declined | Refused:
        """Capture the money, unless a void has cancelled the intent."""
        refusal = None
        try:
            confirmed = await self._ask(
                self._client.v1.payment_intents.confirm_async(
                    intent.id,
                    {"payment_method": method, "off_session": True},
                    options(correlation_id, key=f"{payment.id}-confirm"),
                )
            )
            intent = own(payment, confirmed, intent.id)
        except stripe.CardError as error:
            return Declined(order_id=payment.order_id, reason=message_of(error))
        except stripe.InvalidRequestError as error:
            # It was cancelled, or confirmed under a key that Stripe has forgotten since. The intent shows which.
            refusal = message_of(error)
            intent = await self._retrieve(payment, intent.id, correlation_id)
        if outcome := charge_outcome(payment, intent):
            return outcome
        if refusal is None or intent.status == "processing":
            raise ProviderUnavailable(f"Stripe's intent {intent.id} is {intent.status}, which settles nothing yet")
        return Refused(order_id=payment.order_id, error=refusal)

    async def _intent_id(self, payment: Payment, correlation_id: str) -> str:
        return payment.transaction_id or (await self._open(payment, correlation_id)).id

    async def _retrieve(self, payment: Payment, intent_id: str, correlation_id: str) -> PaymentIntent:
        intents, request = self._client.v1.payment_intents, options(correlation_id)
        found = await self._read(intents.retrieve_async(intent_id, {"expand": ["latest_charge"]}, request))
        return own(payment, found, intent_id)

    async def _search(self, payment: Payment, correlation_id: str) -> PaymentIntent | None:
        query = f"metadata['payment_id']:'{payment.id}'"
        found = await self._read(
            self._client.v1.payment_intents.search_async({"query": query, "limit": 1}, options(correlation_id))
        )
        return own(payment, found.data[0]) if found.data else None

    def _may_be_forgotten(self, payment: Payment) -> bool:
        """Whether Stripe may have forgotten the key of this payment's intent; True if the order's age isn't known."""
        minted = minted_at(payment.order_id)
        return minted is None or self._clock() - minted.timestamp() > _KEY_KEPT

    async def _read(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Ask like `_ask`. A refusal says nothing about the payment here: the key is probably another account's."""
        try:
            return await self._ask(call)
        except stripe.InvalidRequestError as error:
            why = f"Stripe refuses to tell ({message_of(error)}); is the key that of the account that was charged?"
        raise ProviderUnavailable(why)

    async def _ask(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Stripe's answer. CardError and InvalidRequestError are answers, too; other errors are ProviderUnavailable."""
        try:
            async with self._slots, asyncio.timeout(self._timeout):
                return await call
        except (stripe.CardError, stripe.InvalidRequestError):
            raise
        except stripe.StripeError as error:
            # Don't chain the error: its cause holds the request with the Authorization header.
            why = f"{type(error).__name__}, HTTP status {error.http_status or 'none'}"
        except TimeoutError:
            why = f"no answer within {self._timeout} s"
        finally:
            call.close()  # if it was never started
        raise ProviderUnavailable(f"Stripe is unavailable ({why}); the same request may be repeated")

"""The SQL statements of an audit. Each reads one service's database only."""

from __future__ import annotations

from typing import Final

from models.message_types import EventType
from models.saga import CancelReason


def _names(*events: EventType) -> str:
    return ", ".join(f"'{event}'" for event in events)


_HOW_THE_CHARGE_WENT: Final = _names(EventType.PAYMENT_APPROVED, EventType.PAYMENT_DECLINED, EventType.PAYMENT_FAILED)
# The order's events after the charge's end. For a declined charge it is OrderCancelled with that reason.
_AFTER_A_PAYMENT: Final = _names(EventType.ORDER_PAID, EventType.ORDER_FAILED)
# Retention may have removed the events of rows that have not changed since this time; null if it removed none.
_UNTIL: Final = "(SELECT until FROM removed_events)"

# A life has its events in the order of the log. FULL JOIN, because events without a row are a violation, too.
ORDER_LIVES: Final = f"""
    SELECT coalesce(o.id, e.order_id)::text AS id,
           CASE WHEN o.id IS NULL THEN 'no such order, yet the log has ' || e.chain
                WHEN e.told IS DISTINCT FROM o.total::text || ' ' || o.currency AND e.told IS NOT NULL
                THEN 'the order is of ' || o.total || ' ' || o.currency || ', its OrderCreated tells ' || e.told
                WHEN e.reason <> o.cancel_reason
                THEN 'the order was cancelled for ' || o.cancel_reason || ', its OrderCancelled tells ' || e.reason
                ELSE 'status ' || o.status || coalesce(' (' || o.cancel_reason || ')', '')
                     || ', but the log has ' || coalesce(e.chain, 'nothing') END AS detail
    FROM orders o FULL JOIN (
        SELECT order_id, string_agg(event_type, ',' ORDER BY seq) AS chain,
               max((payload->>'total') || ' ' || coalesce(payload->>'currency', 'USD'))
                   FILTER (WHERE event_type = '{EventType.ORDER_CREATED}') AS told,
               max(payload->>'reason') FILTER (WHERE event_type = '{EventType.ORDER_CANCELLED}') AS reason
        FROM event_log GROUP BY order_id) e ON e.order_id = o.id
    CROSS JOIN LATERAL (
        SELECT coalesce(e.chain, '') || '|' || o.status || '|' || coalesce(o.cancel_reason, '') AS life) l
    WHERE o.id IS NULL
       OR (l.life <> ALL(%(lives)s::text[]) AND (l.life = ANY(%(rests)s::text[])
           AND CASE WHEN e.chain IS NULL THEN o.updated_at ELSE o.created_at END <= {_UNTIL}) IS NOT TRUE)
       OR e.told <> o.total::text || ' ' || o.currency OR e.reason <> o.cancel_reason"""
PAYMENT_LIVES: Final = f"""
    SELECT coalesce(p.order_id, e.order_id)::text AS id,
           CASE WHEN p.id IS NULL THEN 'no payment of this order, yet the log has ' || e.chain
                WHEN e.charged <> p.transaction_id
                THEN 'the payment is transaction ' || p.transaction_id || ', its PaymentApproved tells ' || e.charged
                ELSE 'status ' || p.status || coalesce(', ' || p.due || ' due', '')
                     || ', but the log has ' || coalesce(e.chain, 'nothing') END AS detail
    FROM payments p FULL JOIN (
        SELECT order_id, string_agg(event_type, ',' ORDER BY seq) AS chain,
               max(payload->>'transactionId') FILTER (WHERE event_type = '{EventType.PAYMENT_APPROVED}') AS charged
        FROM event_log GROUP BY order_id) e ON e.order_id = p.order_id
    CROSS JOIN LATERAL (SELECT coalesce(e.chain, '') || '|' || p.status || '|' || coalesce(p.due, '') AS life) l
    WHERE p.id IS NULL
       OR (l.life <> ALL(%(lives)s::text[]) AND (l.life = ANY(%(rests)s::text[])
           AND CASE WHEN coalesce(e.chain, p.due) IS NULL THEN p.updated_at ELSE p.created_at END
               <= {_UNTIL}) IS NOT TRUE)
       OR e.charged <> p.transaction_id"""

EVENTS_TWICE: Final = """
    SELECT min(order_id::text) AS id, 'event ' || event_id || ' is logged ' || count(*) || ' times' AS detail
    FROM event_log GROUP BY event_id HAVING count(*) > 1"""
EVENTS_WITHOUT_CAUSE: Final = """
    SELECT order_id::text AS id, event_type || ' ' || event_id || ' does not say what it answers' AS detail
    FROM event_log WHERE causation_id IS NULL"""
UNPUBLISHED: Final = """
    SELECT b.order_id::text AS id,
           CASE WHEN e.seq IS NULL THEN 'number ' || b.seq || ' of the log is to be published, but is not in it'
                ELSE e.event_type || ' has waited ' || round(extract(epoch FROM now() - b.created_at)) || ' s'
                END AS detail
    FROM outbox b LEFT JOIN event_log e USING (seq)
    WHERE e.seq IS NULL OR b.created_at <= now() - make_interval(secs => %(patience)s)"""
ORDER_TOTALS: Final = """
    SELECT status AS id, 'counted ' || coalesce(c.n, 0) || ' of ' || coalesce(c.amount, 0)
           || ', the totals say ' || coalesce(t.n, 0) || ' of ' || coalesce(t.amount, 0) AS detail
    FROM (SELECT status, count(*) AS n, sum(total) AS amount FROM orders GROUP BY status) c
    FULL JOIN (SELECT status, sum(count) AS n, sum(amount) AS amount FROM order_totals GROUP BY status) t USING (status)
    WHERE (coalesce(c.n, 0), coalesce(c.amount, 0)) <> (coalesce(t.n, 0), coalesce(t.amount, 0))"""
PAYMENT_TOTALS: Final = """
    SELECT status || ' ' || currency AS id, 'counted ' || coalesce(c.n, 0) || ' of ' || coalesce(c.amount, 0)
           || ', the totals say ' || coalesce(t.n, 0) || ' of ' || coalesce(t.amount, 0) AS detail
    FROM (SELECT status, currency, count(*) AS n, sum(amount) AS amount FROM payments GROUP BY status, currency) c
    FULL JOIN (SELECT status, currency, sum(count) AS n, sum(amount) AS amount FROM payment_sums
               GROUP BY status, currency) t USING (status, currency)
    WHERE (coalesce(c.n, 0), coalesce(c.amount, 0)) <> (coalesce(t.n, 0), coalesce(t.amount, 0))"""

# A payment that was charged at Stripe has its intent's id as transaction id. Its books are not in this database.
_HERE: Final = "coalesce(p.transaction_id, '') NOT LIKE 'pi\\_%%'"
# A capture of a wrong amount or currency is never approved. If it was given back in full, it does not count.
_UNDONE: Final = """
    (c.refunded = c.captured AND (c.captured, c.currency) IS DISTINCT FROM (p.amount, p.currency)
     AND p.status <> 'APPROVED')"""
CAPTURED: Final = f"""
    SELECT coalesce(p.order_id, c.payment_id)::text AS id,
           CASE WHEN p.id IS NULL THEN 'the books have a line (' || c.outcome || ', captured ' || c.captured
                     || ') for a payment nobody knows'
                ELSE 'payment ' || p.status || ' of ' || p.amount || ' ' || p.currency || ', captured '
                     || coalesce(c.captured || ' ' || c.currency || coalesce(' as ' || c.transaction_id, ''), '0')
                END AS detail
    FROM payments p FULL JOIN provider_charges c ON c.payment_id = p.id
    WHERE p.id IS NULL OR (c.captured > p.amount AND {_UNDONE} IS NOT TRUE)
       OR (p.status IN ('APPROVED', 'REFUNDED') AND {_HERE} AND (c.captured, c.currency, c.transaction_id)
           IS DISTINCT FROM (p.amount, p.currency, p.transaction_id)
           AND ({_UNDONE} AND c.transaction_id = p.transaction_id) IS NOT TRUE)"""
CHARGED_TWICE: Final = """
    SELECT min(coalesce(p.order_id, c.payment_id)::text) AS id,
           c.transaction_id || ' stands for ' || count(*) || ' payments' AS detail
    FROM provider_charges c LEFT JOIN payments p ON p.id = c.payment_id
    WHERE c.captured > 0 GROUP BY c.transaction_id HAVING count(*) > 1"""
KEPT: Final = f"""
    SELECT p.order_id::text AS id,
           'payment ' || p.status || ', the provider keeps ' || (c.captured - c.refunded) || ' ' || c.currency AS detail
    FROM payments p JOIN provider_charges c ON c.payment_id = p.id
    WHERE p.due IS NULL AND p.status NOT IN ('APPROVED', 'PROCESSING') AND {_HERE} AND c.captured <> c.refunded"""
REFUNDED: Final = f"""
    SELECT coalesce(p.order_id, c.payment_id)::text AS id,
           'payment ' || p.status || ', captured ' || c.captured || ', refunded ' || c.refunded AS detail
    FROM provider_charges c JOIN payments p ON p.id = c.payment_id
    WHERE c.refunded NOT IN (0, c.captured)
       OR (c.refunded > 0 AND p.status <> 'REFUNDED' AND p.due IS DISTINCT FROM 'refund' AND {_UNDONE} IS NOT TRUE)
       OR (p.status = 'REFUNDED' AND {_HERE} AND c.refunded = 0)"""
AT_STRIPE: Final = "SELECT count(*) FROM payments WHERE transaction_id LIKE 'pi\\_%'"

# The facts on which both services must agree: a row for each saga, sorted by the order's id.
ORDER_SIDES: Final = f"""
    SELECT o.id, o.status, o.cancel_reason, o.total, o.currency, o.coordinator,
           greatest(extract(epoch FROM now() - o.updated_at), 0)::float8, e.events, e.answered,
           o.created_at <= {_UNTIL} AND e.created IS NOT TRUE
    FROM orders o LEFT JOIN (
        SELECT order_id, array_agg(event_id) AS events,
               (array_agg(causation_id) FILTER (WHERE event_type IN ({_AFTER_A_PAYMENT})
                   OR payload->>'reason' = '{CancelReason.PAYMENT_DECLINED}'))[1] AS answered,
               bool_or(event_type = '{EventType.ORDER_CREATED}') AS created
        FROM event_log {{of_those}} GROUP BY order_id) e ON e.order_id = o.id
    {{those}} ORDER BY o.id"""
PAYMENT_SIDES: Final = f"""
    SELECT p.order_id, p.status, p.due, p.amount, p.currency, p.coordinator, p.payment_method,
           greatest(extract(epoch FROM now() - p.updated_at), 0)::float8, e.causes, e.outcome,
           p.created_at <= {_UNTIL} AND e.outcome IS NULL
    FROM payments p LEFT JOIN (
        SELECT order_id, array_agg(causation_id) AS causes,
               (array_agg(event_id) FILTER (
                   WHERE event_type IN ({_HOW_THE_CHARGE_WENT})))[1] AS outcome
        FROM event_log {{of_those}} GROUP BY order_id) e ON e.order_id = p.order_id
    {{those}} ORDER BY p.order_id"""

REMOVED: Final = "SELECT coalesce(sum(events), 0)::bigint FROM removed_events"
UNTIL: Final = f"SELECT {_UNTIL}"

"""Write a trace for people, as a story or as a Mermaid sequence diagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.model.explore import Violation
from tests.model.invariants import TEXTS
from tests.model.state import Kind, Label, Slot, State
from tests.model.world import World


class _Telling(NamedTuple):
    """A sentence and an arrow for a kind of move. `who` stands for the actor."""

    sentence: str
    source: str = "who"
    target: str = "who"
    arrow: str = "{sentence}"


_NAMES: Final = {
    "client": "Client",
    "operator": "Operator",
    "broker": "RabbitMQ",
    "order": "Order service",
    "payment": "Payment service",
    "provider": "Provider",
    "workflow": "Temporal",
    "worker": "Saga worker",
}

_TELLINGS: Final = {
    "take": _Telling("takes {messages}, {detail}", "broker", "who", "{messages}, {detail}"),
    "take again": _Telling(
        "takes {messages}, loses the commit's confirmation and applies it again, {detail}", "broker", "who"
    ),
    "ack": _Telling("acknowledges {messages}", "who", "broker", "ack {messages}"),
    "retry": _Telling("sets {messages} aside for another attempt", "who", "broker", "{messages} for later"),
    "bury": _Telling("sets {messages} aside as a dead letter", "who", "broker", "{messages} as a dead letter"),
    "apply": _Telling("commits what follows from {messages}"),
    "ask again": _Telling("looks again at what {messages} leaves due"),
    "publish": _Telling("publishes {messages}", "who", "broker", "{messages}"),
    "publish without confirm": _Telling("publishes {messages}, and the confirm is lost", "who", "broker"),
    "publish in vain": _Telling("publishes {messages}, and it never arrives", "who", "broker"),
    "forget": _Telling("takes {messages} out of its outbox"),
    "sweep": _Telling("relays {messages}", "who", "broker", "{messages}, by the relay"),
    "end sweep": _Telling("takes what it relayed out of its outbox"),
    "crash": _Telling("is killed; what it had not acknowledged is delivered again"),
    "disconnect": _Telling("loses its consumer's connection; what it holds is delivered again", "broker", "who"),
    "answer": _Telling("answers {detail}", "who", "payment", "{detail}"),
    "lose the answer": _Telling("acts on {detail}, and the answer is lost"),
    "be late": _Telling("gives no answer in time to {detail}, and may still act on it"),
    "act late": _Telling("acts on what nobody waits for any more, {detail}"),
    "record": _Telling("commits the provider's answer, {detail}"),
    "record again": _Telling("commits the provider's answer, and again because it can't tell, {detail}"),
    "cancel": _Telling("wants the order cancelled: {messages}", "client", "broker", "{messages}"),
    "time out": _Telling("takes the step cancel_order, because a payment timer fired: {detail}", "workflow", "who"),
    "signal": _Telling("wants the order cancelled", "who", "workflow", "{detail}"),
    "republish": _Telling("leaves OrderCancelled to the relay once more", "workflow", "who"),
    "replay": _Telling("has {messages} published again", "who", "broker"),
    "send again": _Telling("sends {messages} again", "who", "broker"),
    "redrive": _Telling("redrives {messages}, a dead letter ({detail})", "who", "broker"),
    "tell": _Telling("tells the mirror of {messages}", "who", "workflow", "{messages}"),
    "tell in vain": _Telling("tells the mirror of {messages}, and is killed before it acknowledges", "who", "workflow"),
    "forget to tell": _Telling("acknowledges {messages}, and is killed before it tells the mirror", "who", "broker"),
    "learn": _Telling("lets the workflow learn what has happened"),
    "timer": _Telling("fires the timer: {detail}"),
    "step": _Telling("takes the step {detail}", "workflow", "who", "{detail}"),
    "step in vain": _Telling("takes the step {detail}, and Temporal never hears of it", "workflow", "who"),
    "local step": _Telling("takes the local step {detail}, and the workflow's task goes on"),
    "lose the task": _Telling("waits no longer for the workflow's task; what it has committed stays"),
    "expire": _Telling("gives up {detail}"),
    "begin": _Telling("begins the step {detail}", "workflow", "who", "{detail}"),
    "report": _Telling("reports {detail} as done", "who", "workflow", "{detail} is done"),
    "refuse": _Telling("reports {detail} as failed for good", "who", "workflow", "{detail} failed for good"),
    "fail": _Telling("reports an attempt of {detail} as failed", "who", "workflow", "{detail} failed"),
    "report in vain": _Telling("ends an attempt of {detail} that nobody waits for any more"),
    "give up": _Telling("hears nothing of {detail} for too long; its attempt goes on all the same"),
    "notice": _Telling("notices that whoever worked on {detail} has died"),
}


def story(world: World, violation: Violation) -> str:
    """The trace as numbered sentences, one a move, with the changes of order, payment and books."""
    broken = violation.broken
    lines = [f"Broken: {TEXTS[broken.invariant]} ({broken.invariant}).", f"Here: {broken.why}.", ""]
    before = world.start()
    for place, (move, state) in enumerate(violation.trace, start=1):
        mark = "!" if move.kind is Kind.FAULT else "?" if move.kind is Kind.WHIM else " "
        changes = "; ".join(_changes(world, before, state))
        lines.append(f"{place:3}. {mark} {_sentence(world, move.label)}." + (f" [{changes}]" if changes else ""))
        before = state
    lines.append("")
    lines.append(f"{len(violation.trace)} moves; ! is a fault, ? is what a user, a timer or a late request may do.")
    return "\n".join(lines)


def diagram(world: World, violation: Violation) -> str:
    """The trace as the text of a Mermaid sequence diagram."""
    arrows: list[str] = []
    actors = {"broker"}
    before = world.start()
    for move, state in violation.trace:
        telling = _TELLINGS[move.label.what]
        who = move.label.who
        source, target = (who if each == "who" else each for each in (telling.source, telling.target))
        actors |= {source, target}
        text = _filled(world, move.label, telling.arrow).replace(";", ",").replace(":", "")
        arrow = "-x" if move.kind is Kind.FAULT else "->>"
        arrows.append(f"    {source}{arrow}{target}: {text}")
        for change in _changes(world, before, state):
            side = change.split(" ")[0]
            actors.add(side)
            arrows.append(f"    Note over {side}: {change}")
        before = state
    arrows.append(f"    Note over {','.join(_ends(actors))}: {violation.broken.why.replace(';', ',')}")
    heads = [f"    participant {actor} as {name}" for actor, name in _NAMES.items() if actor in actors]
    return "\n".join(["sequenceDiagram", *heads, *arrows])


def _ends(actors: set[str]) -> list[str]:
    there = [actor for actor in _NAMES if actor in actors]
    return there if len(there) < 2 else [there[0], there[-1]]


def _sentence(world: World, label: Label) -> str:
    who = _NAMES[label.who]
    who = who if who == "Temporal" else f"The {who.lower()}"
    return f"{who} {_filled(world, label, None)}"


def _filled(world: World, label: Label, template: str | None) -> str:
    telling = _TELLINGS[label.what]
    messages = ", ".join(world.messages.name(number) for number in label.numbers)
    sentence = telling.sentence.format(messages=messages, detail=label.detail)
    return (template or "{sentence}").format(sentence=sentence, messages=messages, detail=label.detail)


def _changes(world: World, before: State, after: State) -> Iterator[str]:
    for old, new in zip(_standing(world, before), _standing(world, after), strict=True):
        if old != new:
            yield new


def _standing(world: World, state: State) -> tuple[str, str, str]:
    order, payment = world.value(state, Slot.ORDERS).row, world.value(state, Slot.PAYMENTS).row
    lines = world.value(state, Slot.PROVIDER).lines
    owed = f", {payment.due} due" if payment and payment.due else ""
    held = ", ".join(f"{each.outcome}, captured {each.captured}, refunded {each.refunded}" for each in lines)
    return (
        f"order {order.status if order else 'unknown'}",
        f"payment {payment.status if payment else 'unknown'}{owed}",
        f"provider {held or 'has no line'}",
    )

"""Draw figures as SVG that takes its colours from the page: distributions as lines, amounts as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

from bench.figures import cumulative, shown

WIDTH: Final = 720
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 34, 12, 46
_BAR: Final = 22  # height of a bar, with its gap
_LABELS: Final = 212  # width of what stands before a bar
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A bar of one or more parts that follow one another; `series` names the colour of a part."""

    label: str
    parts: Sequence[tuple[str, float]]  # series, length

    @property
    def length(self) -> float:
        return sum(length for _, length in self.parts)


def distribution(values: Mapping[str, Sequence[float]], *, unit: str, height: int = 260) -> str:
    """Which share of `values` (by series) is at most so much, over a logarithmic axis."""
    some = [value for series in values.values() for value in series if value > 0]
    if not some:
        return ""
    low, high = floor(log10(min(some)) * 3) / 3, ceil(log10(max(some)) * 3) / 3
    wide, high = WIDTH - _LEFT - _RIGHT, max(high, low + 1 / 3)
    tall = height - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + wide * (log10(max(value, 10**low)) - low) / (high - low)

    def y(share: float) -> float:
        return _TOP + tall * (1 - share)

    parts = [_line(_LEFT, y(share), WIDTH - _RIGHT, y(share), "grid") for share in _SHARES]
    parts += [_text(_LEFT - 8, y(share) + 4, f"{share:.0%}", "end") for share in _SHARES]
    for tick in _ticks(low, high):
        parts += [_line(x(tick), _TOP, x(tick), y(0), "grid"), _text(x(tick), y(0) + 18, shown(tick), "middle")]
    parts.append(_text(_LEFT + wide / 2, height - 6, f"{unit}, logarithmic", "middle"))
    for series, all_of in values.items():
        points = cumulative([value for value in all_of if value > 0])
        if points:
            before = [0.0, *(share for _, share in points)]
            steps = [
                (value, each) for (value, share), below in zip(points, before, strict=False) for each in (below, share)
            ]
            path = " ".join(f"{x(value):.1f},{y(share):.1f}" for value, share in steps)
            parts.append(f'<polyline class="curve {escape(series)}" points="{path}"/>')
    return _svg(height, parts, f"Share of sagas over by then, in {unit}")


def bars(rows: Sequence[Bar], *, unit: str) -> str:
    """Horizontal bars from zero, each with its label before it and its length behind it."""
    longest = max((row.length for row in rows), default=0.0)
    if longest <= 0:
        return ""
    height = _TOP + _BAR * len(rows) + _BOTTOM
    wide = WIDTH - _LABELS - 110
    bottom = height - _BOTTOM
    parts = []
    for tick in _round_ticks(longest):
        place = _LABELS + wide * tick / longest
        parts += [_line(place, _TOP, place, bottom, "grid"), _text(place, bottom + 18, shown(tick), "middle")]
    parts.append(_text(_LABELS + wide / 2, height - 6, unit, "middle"))
    for number, row in enumerate(rows):
        top = _TOP + _BAR * number
        parts.append(_text(_LABELS - 8, top + 15, row.label, "end"))
        start = float(_LABELS)
        for series, length in row.parts:
            size = wide * length / longest
            title = f"<title>{escape(f'{row.label}: {series} {shown(length)} {unit}')}</title>"
            parts.append(
                f'<rect class="bar {escape(_slug(series))}" x="{start:.1f}" y="{top + 3}" width="{size:.1f}"'
                f' height="{_BAR - 6}">{title}</rect>'
            )
            start += size
        parts.append(_text(start + 6, top + 15, shown(row.length), "start"))
    return _svg(height, parts, f"Bars in {unit}")


def legend(series: Sequence[str]) -> str:
    """What the colours stand for."""
    items = (f'<span class="key {escape(_slug(each))}"></span>{escape(each)}' for each in series)
    return '<p class="legend">' + " ".join(f"<span>{item}</span>" for item in items) + "</p>"


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten within the powers `low` and `high`."""
    candidates = [step * 10.0**power for power in range(floor(low), ceil(high) + 1) for step in (1, 2, 5)]
    return [tick for tick in candidates if low - 1e-9 <= log10(tick) <= high + 1e-9]


def _round_ticks(longest: float) -> list[float]:
    """Four to eight round numbers from zero to at most `longest`."""
    rough = longest / 5
    power = 10.0 ** floor(log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    return [step * number for number in range(floor(longest / step + 1e-9) + 1)]


def _slug(series: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in series)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: int, parts: Sequence[str], title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'

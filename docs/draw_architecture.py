"""Draw docs/architecture.svg from the imports: `python docs/draw_architecture.py > docs/architecture.svg`."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import grimp

ROOT: Final = Path(__file__).resolve().parents[1]
UNSHIPPED: Final = frozenset({"bench"})

_STYLE: Final = """
  .paper { fill: #ffffff } .room { fill: #eef4fb; stroke: #2a6fc9 } .unshipped { stroke-dasharray: 6 4 }
  text { font: 13px system-ui, sans-serif; fill: #1c1e21 } .name { font-size: 17px; font-weight: 600 }
  .soft { fill: #5b6169 } .head { font-size: 15px; font-weight: 600 }
  .rail { stroke: #7b828b; stroke-width: 2 } .start { fill: #ffffff; stroke: #7b828b; stroke-width: 2 }
  .import { fill: #d9652b } .row { stroke: #d9dce0 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #17191c } .room { fill: #1d2a3a; stroke: #6ea8f2 }
    text { fill: #e8eaed } .soft { fill: #a2a9b2 } .rail { stroke: #9aa2ab }
    .start { fill: #17191c; stroke: #9aa2ab } .import { fill: #f08e5c } .row { stroke: #3a3f46 }
  }
"""
_ROOM, _TALL, _GAP, _LEFT, _TOP = 480, 76, 14, 24, 92
_RAIL: Final = 38  # from one rail to the next
_WRAP: Final = 64  # characters of a room's sentence in a line
_INNER: Final = "inside: "


@dataclass(frozen=True, kw_only=True)
class Room:
    """One package: what it says it is for, the packages inside it, and which rooms its modules import."""

    name: str
    purpose: str
    inside: Sequence[str]
    imports: frozenset[str]


def main() -> None:
    """Print the drawing."""
    sys.path.insert(0, str(ROOT))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    sys.stdout.write(drawing(floors(contracts), [each["name"] for each in contracts["contracts"][1:]]))


def floors(contracts: Mapping[str, Any]) -> list[list[Room]]:
    """The rooms, floor by floor from the top, as the contract of the layers has them."""
    names = [[name.strip() for name in layer.split("|")] for layer in contracts["contracts"][0]["layers"]]
    graph = grimp.build_graph(*contracts["root_packages"], cache_dir=None, include_external_packages=False)
    return [[_room(graph, name) for name in floor] for floor in names]


def _room(graph: grimp.ImportGraph, name: str) -> Room:
    modules = {name, *graph.find_descendants(name)}
    imported = {
        each.partition(".")[0] for module in modules for each in graph.find_modules_directly_imported_by(module)
    }
    packages = {path.parent.relative_to(ROOT / name) for path in (ROOT / name).rglob("__init__.py")}
    return Room(
        name=name,
        purpose=(import_module(name).__doc__ or "").strip().partition("\n")[0].replace("`", ""),
        inside=sorted(str(each) for each in packages if len(each.parts) == 1),
        imports=frozenset(imported - {name}),
    )


def drawing(rooms: Sequence[Sequence[Room]], rules: Sequence[str]) -> str:
    """An SVG: each room on its floor, and beside it a rail that leads down to the rooms that it imports."""
    flat = [room for floor in rooms for room in floor]
    middle = {room.name: _TOP + place * (_TALL + _GAP) + _TALL / 2 for place, room in enumerate(flat)}
    floor_of = {room.name: len(rooms) - place for place, floor in enumerate(rooms) for room in floor}
    importers = [room.name for room in flat if room.imports]
    rail = {name: _LEFT + _ROOM + 50 + place * _RAIL for place, name in enumerate(importers)}
    wide = round(max(rail.values()) + 40)
    rules_at = max(middle.values()) + _TALL / 2 + 40
    high = round(rules_at + 20 * len(rules) + 24)
    parts = [
        f'<rect class="paper" width="{wide}" height="{high}"/>',
        _text(_LEFT, 34, "The rooms of the house, from the imports of its modules", "name"),
        _text(_LEFT, 56, "A rail begins at a room (ring) and leads down to the rooms that it imports (dots).", "soft"),
        _text(_LEFT, 76, "Dashed: in the repository, but not in what is installed.", "soft"),
        *(part for room in flat for part in _box(room, middle[room.name], floor_of[room.name], wide)),
        *(part for room in flat if room.imports for part in _rail(room, rail[room.name], middle)),
        _text(_LEFT, rules_at, "make check holds the floors to it, and:", "head"),
        *(_text(_LEFT, rules_at + 20 * (place + 1), f"· {rule}", "soft") for place, rule in enumerate(rules)),
    ]
    body = "\n".join(parts)
    title = "Which package imports which"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" role="img"'
        f' aria-label="{title}">\n<title>{title}</title>\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def _box(room: Room, middle: float, floor: int, wide: int) -> Iterator[str]:
    top = middle - _TALL / 2
    kind = "room unshipped" if room.name in UNSHIPPED else "room"
    yield f'<line class="row" x1="{_LEFT + _ROOM}" y1="{middle:g}" x2="{wide - 20}" y2="{middle:g}"/>'
    yield f'<rect class="{kind}" x="{_LEFT}" y="{top:g}" width="{_ROOM}" height="{_TALL}" rx="6"/>'
    yield _text(_LEFT + 14, top + 23, room.name, "name")
    yield f'<text class="soft" x="{_LEFT + _ROOM - 14}" y="{top + 22:g}" text-anchor="end">floor {floor}</text>'
    lines = [*_wrapped(room.purpose), *([_INNER + ", ".join(room.inside)] if room.inside else [])]
    for place, line in enumerate(lines[:3]):
        yield _text(_LEFT + 14, top + 40 + 15 * place, line, "soft" if line.startswith(_INNER) else "")


def _rail(room: Room, x: float, middle: Mapping[str, float]) -> Iterator[str]:
    begin, end = middle[room.name], max(middle[name] for name in room.imports)
    yield f'<line class="rail" x1="{x:g}" y1="{begin:g}" x2="{x:g}" y2="{end:g}"/>'
    yield f'<circle class="start" cx="{x:g}" cy="{begin:g}" r="6"><title>{escape(room.name)}</title></circle>'
    for name in sorted(room.imports):
        told = escape(f"{room.name} imports {name}")
        yield f'<circle class="import" cx="{x:g}" cy="{middle[name]:g}" r="6"><title>{told}</title></circle>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _WRAP:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


if __name__ == "__main__":
    main()

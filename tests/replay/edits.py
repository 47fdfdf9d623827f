"""Edit the source of SagaMirror as a programmer would, into modules of their own."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any, Final

from workflows import mirror_steps
from workflows.saga_mirror import SagaMirror

PATCH: Final = "pause-before-repeating"
# An edit of the usual course: a confirmation gets a second more before the cancellation is repeated.
PLACE: Final = '        summary = f"publish order.cancelled again ('
PAUSE: Final = 'await workflow.sleep(1, summary="let a confirmation that is under way arrive")\n'
VERSIONS: Final = {
    "before": "",
    "patched": f'        if workflow.patched("{PATCH}"):\n            {PAUSE}',
    "deprecated": f'        workflow.deprecate_patch("{PATCH}")\n        {PAUSE}',
    "after": f"        {PAUSE}",
}
# Unusual courses: an edit that is taken back, and one that takes effect in the next round of a run.
OTHERS: Final = {
    "undone": (
        f'        if workflow.patched("{PATCH}") and not workflow.patched("no-pause-after-all"):\n            {PAUSE}'
    ),
    "by round": f'        if workflow.patched(f"{PATCH}-{{self._republished}}"):\n            {PAUSE}',
}


def versions_in(folder: Path) -> dict[str, type[Any]]:
    """SagaMirror in each of these versions."""
    return {
        version: edited(folder, f"mirror_{version.replace(' ', '_')}", PLACE, edit + PLACE)
        for version, edit in (VERSIONS | OTHERS).items()
    }


def edited(folder: Path, module: str, old: str, new: str) -> type[Any]:
    """SagaMirror with one place of its source replaced, or one of its steps' source, in modules of this folder.

    The folder must be on `sys.path` while the class is used, since the sandbox imports the modules anew.
    """
    steps = f"{module}_steps"
    mirror_source = Path(inspect.getfile(SagaMirror)).read_text().replace(mirror_steps.__name__, steps)
    sources = {module: mirror_source, steps: Path(inspect.getfile(mirror_steps)).read_text()}
    found = sum(source.count(old) for source in sources.values())
    assert found == 1, f"to be edited, this must be in saga_mirror.py or mirror_steps.py once: {old.strip()}"
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source.replace(old, new))
    importlib.invalidate_caches()
    mirror: type[Any] = importlib.import_module(module).SagaMirror
    return mirror

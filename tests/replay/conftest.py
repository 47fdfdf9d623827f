"""The edited versions of SagaMirror, made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.replay.edits import versions_in


@pytest.fixture(scope="session")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, type[Any]]]:
    """SagaMirror in each version of tests.replay.edits."""
    folder = tmp_path_factory.mktemp("versions")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield versions_in(folder)

"""RabbitMQ's program is refused where the server itself would fail without a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embedded import rabbitmq
from embedded.errors import StackError


def program(data: Path) -> None:
    rabbitmq.program(
        data=data,
        amqp=1,
        ui=2,
        behind="127.0.0.2",
        distribution=3,
        password="p",
        cookie="c",
        definitions={},
        env={"PATH": os.environ["PATH"]},
    )


def test_a_path_that_is_not_ascii_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="whose path is not ASCII: choose another folder with --data"):
        program(tmp_path / "Téléchargements")

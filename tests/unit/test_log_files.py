"""Log files are bounded, and a full disk stops no process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from embedded.log_files import LogFile
from stack.logs import Unfailing

FULL = Path("/dev/full")  # takes nothing: No space left on device


def test_a_log_is_rotated_while_it_is_written_and_no_line_is_torn(tmp_path: Path) -> None:
    """One older file is kept. Both files are bounded, and begin and end with a whole line."""
    path = tmp_path / "server.log"
    log = LogFile(path, rotate_above=1000)
    for number in range(200):
        log.write(f"line {number:03}\n".encode())
    log.close()
    kept = (tmp_path / "server.log.1").read_text() + path.read_text()
    numbers = [int(line.removeprefix("line ")) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], 200))
    assert max(each.stat().st_size for each in tmp_path.iterdir()) <= 1000
    assert len(list(tmp_path.iterdir())) == 2


def test_lines_wait_while_the_disk_is_full_and_are_written_later(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.symlink_to(FULL)
    log = LogFile(path)
    log.write(b"while it was full\n")
    assert log.last_line() == "while it was full"
    path.unlink()
    log.write(b"afterwards\n")
    assert path.read_text() == "while it was full\nafterwards\n"


def test_the_oldest_lines_are_dropped_when_too_many_wait_and_the_log_says_so(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.symlink_to(FULL)
    log = LogFile(path)
    line = b"x" * 99 + b"\n"
    for _ in range(20_000):
        log.write(line)
    path.unlink()
    log.write(b"the last one\n")
    first, *rest = path.read_text().splitlines()
    lost = int(first.split()[1])
    assert "bytes were lost here" in first
    assert lost + 100 * (len(rest) - 1) == 20_000 * 100
    assert rest[-1] == "the last one"


def test_an_output_that_takes_nothing_stops_no_process(tmp_path: Path) -> None:
    """The output is a full disk, a pipe without a reader, or a closed stream."""
    reader, writer = os.pipe()
    os.close(reader)
    closed = (tmp_path / "closed").open("w")
    closed.close()
    assert sys.__stderr__ is not None
    with FULL.open("w", buffering=1) as full, os.fdopen(writer, "w") as left:
        for stream in (full, left, closed):
            output = Unfailing(stream)
            assert output.write("a line\n") == 7
            output.flush()
            assert output.dropped == 1
            if not stream.closed:
                os.dup2(sys.__stderr__.fileno(), stream.fileno())  # closing it writes what it still has

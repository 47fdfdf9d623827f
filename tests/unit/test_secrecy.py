"""The search for secrets finds them in what others may read, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.secrecy import found_in, open_files

SECRET = "s3cret/of+the test"


def test_a_secret_is_found_as_it_is_and_as_a_url_has_it() -> None:
    texts = [("log", f"refused {SECRET}"), ("line", "amqp://saga:s3cret%2Fof%2Bthe%20test@host"), ("other", "nothing")]
    assert found_in({"broker": SECRET}, texts) == ["line: broker", "log: broker"]


def test_only_files_that_others_may_read_are_open() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0o700)
        for path, mode in (("open", 0o644), ("kept", 0o600), ("group", 0o640), ("closed/open", 0o644)):
            (folder / path).write_text(SECRET)
            (folder / path).chmod(mode)
        assert {Path(path).name for path, _ in open_files(folder)} == {"open", "group"}
        assert not any("closed" in path for path, _ in open_files(folder))

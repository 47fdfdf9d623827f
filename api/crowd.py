"""Keep room among a process's connections, whoever opens how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, TypeAlias

import structlog

from choreography.log_throttle import LogThrottle

log = structlog.get_logger()

Network: TypeAlias = IPv4Network | IPv6Network

ALWAYS_TOLD: Final = frozenset({"/healthz", "/readyz"})  # whoever looks after a process is told, however busy it is
_DENSE: Final = 0.75  # of what there is room for


class Crowd:
    """So many connections at once, of one address half of them. Those beyond are answered 503, and end.

    A proxy brings the connections of many clients, so from one of `proxies` there may be as many as from all.
    """

    def __init__(self, most: int, proxies: Sequence[Network] = ()) -> None:
        self._most = most
        self._proxies = proxies
        self._within: Counter[str] = Counter()  # by address
        self._all = 0
        self._throttle = LogThrottle()

    def enter(self, address: str) -> bool:
        """Whether there is room for one more connection from this address; if so, it is counted until it leaves."""
        if self._all >= self._most or self._within[address] >= max(1, self._most // 2):
            if self._throttle(address):
                log.warning("connections_refused", client=address, open=self._all, most=self._most)
            return False
        self._all += 1
        if not self._is_proxy(address):
            self._within[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Say that a connection that there was room for has ended."""
        self._all -= 1
        if address in self._within:
            self._within[address] -= 1
            if not self._within[address]:
                del self._within[address]

    @property
    def is_dense(self) -> bool:
        """Whether most places are taken, so that an idle connection should end soon."""
        return self._all > self._most * _DENSE or any(n > self._most // 2 * _DENSE for n in self._within.values())

    def _is_proxy(self, address: str) -> bool:
        try:
            return any(ip_address(address) in proxies for proxies in self._proxies)
        except ValueError:
            return False

"""Say by which ways the processes of an embedded stack reach each other, if one is to be cut off."""

from __future__ import annotations

from typing import Final

from embedded.ports import LOOPBACK
from embedded.ways import Way
from stack.addresses import Ports

# Each process finds all others at a loopback address of its own, at their usual ports.
OWN: Final = {"order": "127.0.0.11", "payment": "127.0.0.12", "gateway": "127.0.0.13", "worker": "127.0.0.14"}
_GATEWAY: Final = "gateway"
_SERVERS: Final = {"rabbitmq": "amqp", "postgres": "postgres", "temporal": "temporal"}  # with the name of the port


def ways(port_offset: int) -> list[Way]:
    """From each process to each server, from the gateway to the other processes, and from clients to the gateway."""
    ports = vars(Ports.shifted(port_offset))
    pairs = [(name, server, ports[port]) for name in OWN for server, port in _SERVERS.items()]
    pairs += [(_GATEWAY, name, ports[name]) for name in OWN if name != _GATEWAY]
    inner = [
        Way(at=(OWN[name], port), to=(LOOPBACK, port), ends=frozenset({name, other})) for name, other, port in pairs
    ]
    port = ports[_GATEWAY]  # where clients look for it
    return [*inner, Way(at=(LOOPBACK, port), to=(OWN[_GATEWAY], port), ends=frozenset({_GATEWAY}))]

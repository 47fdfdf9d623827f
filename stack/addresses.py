"""Name the processes, and give each part of the embedded stack its port."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from embedded.errors import StackError

Process: TypeAlias = Literal["gateway", "order", "payment", "worker"]


@dataclass(frozen=True)
class Ports:
    """All ports of a stack, on loopback. Two stacks differ by their offset."""

    gateway: int = 3000
    order: int = 3001
    payment: int = 3002
    worker: int = 3003
    postgres: int = 5433  # not 5432: a PostgreSQL of the machine's own may live there
    amqp: int = 5673
    rabbitmq_ui: int = 15673
    rabbitmq_distribution: int = 25673
    temporal: int = 7233
    temporal_ui: int = 8233

    @classmethod
    def shifted(cls, offset: int) -> "Ports":
        """All ports moved by `offset`. Raises StackError if one would leave the range of ports."""
        ports = cls()
        shifted = {name: port + offset for name, port in vars(ports).items()}
        for name, port in shifted.items():
            if not 1024 <= port <= 65535:
                raise StackError(f"--port-offset {offset} moves {name} to port {port}; it must end within 1024-65535")
        return cls(**shifted)

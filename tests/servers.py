"""Run PostgreSQL and RabbitMQ for a test session: `python -m tests.servers DATA OFFSET`."""

import asyncio
import sys
from pathlib import Path

from stack import local
from stack.supervisor import Supervisor


def main() -> None:
    data, offset = Path(sys.argv[1]), int(sys.argv[2])
    secrets = local.Secrets.of(data)
    programs = [each for each in local.servers(data, offset, secrets) if each.name in ("postgres", "rabbitmq")]
    supervisor = Supervisor(data=data, programs=programs, urls=local.urls(offset, secrets))
    asyncio.run(supervisor.run_until_signal())


if __name__ == "__main__":
    main()

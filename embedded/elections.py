"""Have the queues of a RabbitMQ node elect the leaders that they lack.

RabbitMQ writes down which queues it has up to half a second after it has declared them. A node that is killed before
that starts such a queue anew, empty, and has it elect no leader: it then confirms nothing for that queue, and gives
nobody anything from it, for good (RabbitMQ 3.10 and later, on a node that is alone).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

_WITHIN: Final = 30.0  # seconds; Erlang alone takes half a second
# A queue that has just started elects its leader within a moment: only what lacks one twice is told to.
_HOLD: Final = """
Node = '{node}',
pong = net_adm:ping(Node),
Ask = fun(Module, Function, Arguments) -> rpc:call(Node, Module, Function, Arguments) end,
Lacking = fun() ->
    [{{Server, Name}} || Queue <- Ask(rabbit_amqqueue, list_by_type, [rabbit_quorum_queue]),
        {{Member, Node_}} = Server <- [Ask(amqqueue, get_pid, [Queue])], Node_ =:= Node,
        is_pid(Ask(erlang, whereis, [Member])), Ask(ra_leaderboard, lookup_leader, [Member]) =:= undefined,
        {{resource, _, queue, Name}} <- [Ask(amqqueue, get_name, [Queue])]]
end,
Still = case Lacking() of
    [] -> [];
    First -> timer:sleep(1000), [Each || Each <- Lacking(), lists:member(Each, First)]
end,
[io:format("elected ~ts~n", [Name]) || {{Server, Name}} <- Still, Ask(ra, trigger_election, [Server]) =:= ok],
halt().
"""


def hold(node: str, distribution: int, env: Mapping[str, str]) -> list[str]:
    """The queues of the node, listening at this port, that lacked a leader and have been told to elect one.

    `env` is the node's own: its home has the cookie. Raises OSError, or subprocess.SubprocessError.
    """
    known = {name: env[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in env}
    done = subprocess.run(
        [
            *("erl", "-noinput", "-sname", f"elections{uuid4().hex[:8]}@localhost", "-dist_listen", "false"),
            *("-start_epmd", "false", "-erl_epmd_port", str(distribution)),
            *("-eval", _HOLD.format(node=node)),
        ],
        env={**known, "ERL_CRASH_DUMP_BYTES": "0"},
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    if done.returncode:
        raise OSError(f"Erlang ended with {done.returncode}: {done.stderr[:200]}")
    marked = (line.partition("elected ") for line in done.stdout.splitlines())
    return sorted(name for before, mark, name in marked if mark and not before)

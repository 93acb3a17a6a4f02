"""a step that is made exactly once whatever fails: fa_step with a key, against a workflow step in DBOS

One client in Python each, the same server, synchronous commit. Ours computes the step of an agent of the 5x5 grid, stores it
and remembers the key: the same call after a lost answer returns the first result. The peer's step computes nothing and returns
a belief and an action; DBOS records what it returned. It makes hundreds of steps in one workflow, for a workflow of its own
costs more than a step.
"""
import itertools

from common import Bench, Goal
from comparator import Comparator

COMPARATORS = True


def run(bench: Bench) -> None:
    agents = bench.size(10_000, 500)
    bench.create_agents(agents)
    bench.execute("CREATE DATABASE bench_durable_peer")
    rounds = itertools.count()
    with Comparator("client") as client, Comparator("workflow") as peer:
        client.ask("prepare", dsn=bench.dsn(), agents=agents, outcomes=25)
        peer.ask("prepare", url=bench.url("bench_durable_peer"))
        ours, theirs = bench.take_turns(bench.size(7, 1), [
            lambda: client.ask("single", seconds=1, keys=f"round {next(rounds)}"),
            lambda: peer.ask("run", steps=bench.size(400, 50))])
    bench.report("step", ours, "steps/s", "higher", "DBOS workflow step", theirs, Goal("times", ">=", 5))
    bench.execute("DROP DATABASE bench_durable_peer WITH (FORCE)")

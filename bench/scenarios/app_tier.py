"""steps asked for by Python programs, against Python workers that compute with pymdp JAX and keep the agents' rows

Both sides are psycopg 3, prepared, over the same socket to the same server, agents of the 5x5 grid with horizon 1, taken by
chance; each client is a process. The worker (comparators/worker.py) is written as well as it can be: one step takes a read, a
jitted step of pymdp and one conditional UPDATE. Our client sends an observation and gets the action. single: one commit a
step. batched: 2,000 agents a commit, one client.

The worker's row holds the belief as the bytes of float32, which cost the least but mean nothing to SQL; batched/array is
against rows that hold it as a float8[], as ours do; batched/floor against our client with a plain UPDATE of equal rows in
place of the steps, faster than which no step can be.
"""
import kernel_cases
from common import Bench, Goal
from comparator import Comparator, Crew

COMPARATORS = True
CASE = "grid5x5_H1"
OUTCOMES = 25


def run(bench: Bench) -> None:
    agents, batch = bench.size(20_000, 500), bench.size(2000, 100)
    spec = (kernel_cases.specs() / f"{CASE}.json").read_text(encoding="utf-8")
    bench.execute("SELECT fa_model_create(%s, %s)", ("grid", spec))
    bench.execute("SELECT count(*) FROM fa_agent_create_many(%s, %s)", ("grid", agents))
    most = bench.size(8, 2)
    with Crew("worker", most) as workers, Crew("client", most) as clients:
        setup = {"dsn": bench.dsn(), "agents": agents}
        bench.progress(f"starting {most} workers")
        workers.ask("prepare", [{**setup, "case": CASE, "batch": 0 if i else batch} for i in range(most)])
        clients.ask("prepare", [{**setup, "outcomes": OUTCOMES}] * most)
        workers.members[0].ask("create")
        bench.execute("SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))")
        bench.copy_table("fa_belief", "peer")
        bench.settle("fa_belief", "peer", "worker_bytes", "worker_array")
        for count, goal in ((1, 2), (most, 3)):
            asked = [{"seconds": bench.size(10, 3) / 10}] * count
            ours, theirs = bench.take_turns(bench.size(4, 1), [lambda: sum(clients.ask("single", asked)),
                                                               lambda: sum(workers.ask("single", asked))])
            bench.report(f"single/{count}_client{'s' if count > 1 else ''}", ours, "steps/s", "higher", "psycopg and pymdp JAX",
                         theirs, Goal("times", ">=", goal))
        batched(bench, clients.members[0], workers.members[0], batch)


def batched(bench: Bench, client: Comparator, worker: Comparator, batch: int) -> None:
    rounds = bench.size(20, 2)
    peers = {table: lambda table=table: worker.ask("batched", count=batch, rounds=rounds, table=table) for table in ("bytes", "array")}
    peers["floor"] = lambda: client.ask("batched", count=batch, rounds=rounds, store=True)
    ours, *theirs = bench.take_turns(bench.size(4, 1), [lambda: client.ask("batched", count=batch, rounds=rounds), *peers.values()],
                                     lambda: bench.execute("VACUUM fa_belief, peer, worker_bytes, worker_array"))
    for name, rates in zip(peers, theirs):
        floor = name == "floor"
        bench.report(f"batched/{name}", ours, "steps/s", "higher", "plain UPDATE" if floor else "psycopg and pymdp JAX", rates,
                     None if floor else Goal("times", ">=", 10))

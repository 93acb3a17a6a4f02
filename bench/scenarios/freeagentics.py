"""1 to 100 agents at work at once: here, and as Python programs do it, in threads and in processes

The figures that FreeAgentics publishes about itself are quoted in the notes: steps a second on 20 cores, agents of its own.
Measured here, on one model (5x5 grid, horizon 1): its engine, pymdp on NumPy, in a pool of threads (of up to 32, as it has)
and in processes (one a core, the agents shared out, which is better than its one process an agent). Both keep all in memory,
and starting them does not count.

Ours in two ways. N/threads and N/processes are against single steps: each a transaction of its own with synchronous commit,
pgbench with as many sessions as agents, 8 at most. N/closed_loop is against processes, as the faster: our agents are shared out
to as many sessions as there are cores, in closed loop with their worlds, and stored at the end.

Efficiency is the rate at 50 agents by that at one agent and by the number of cores. The goal is for the closed loop: there is no
waiting for the disk in it that more sessions could fill, as there is in single steps (efficiency/step). It may be above 100 %,
for agents of one model are stepped together.
"""
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from common import Bench, Goal
from comparator import Comparator

COMPARATORS = True
COUNTS = [1, 5, 10, 20, 50, 100]
PEERS = ["threads", "processes"]
CORES = len(os.sched_getaffinity(0))
# steps a second, in threads and in processes (5x5 grid, 20 steps each, 20 cores, starting included)
PUBLISHED = {1: (680.5, 13.8), 5: (190.1, 47.5), 10: (197.3, 63.8)}
PUBLISHED_EFFICIENCY = 28.4             # of 50 agents
STEP = """\\set id random(1, {agents})
\\set outcome random(0, 24)
SELECT * FROM fa_step(:id, ARRAY[:outcome]::int[]);
"""


def closed_loop(bench: Bench, agents: int, steps: int) -> float:
    """Steps a second of the agents 1 to agents, as many sessions as cores."""
    shares = [list(range(first, agents + 1, CORES)) for first in range(1, min(agents, CORES) + 1)]
    barrier = threading.Barrier(len(shares))
    times: list[float] = []

    def work(ids: list[int]) -> None:
        with bench.connect() as session:
            session.execute("CALL fa_run_commit(%s, 1)", (ids,))
            barrier.wait()
            times.append(time.perf_counter())
            session.execute("CALL fa_run_commit(%s, %s, commit_every => %s)", (ids, steps, steps))
            times.append(time.perf_counter())

    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(work, shares))
    return agents * steps / (max(times) - min(times))


def run(bench: Bench) -> None:
    bench.create_agents(max(COUNTS))
    bench.settle("fa_belief")
    seconds = bench.size(10, 2) / 10
    rates: dict[str, dict[int, list[float]]] = {"step": {}, "closed_loop": {}, "threads": {}, "processes": {}}
    with Comparator("legacy") as peer:
        for count in COUNTS:
            steps = max(1, bench.size(800_000, 2_000) // count)
            taken = bench.take_turns(bench.size(2, 1), [
                lambda: bench.pgbench(STEP.format(agents=count), min(count, 8), max(1, int(seconds)))[0],
                lambda: closed_loop(bench, count, steps),
                lambda: peer.ask("threads", agents=count, seconds=seconds),
                lambda: peer.ask("processes", agents=count, seconds=seconds)])
            for name, values in zip(rates, taken):
                rates[name][count] = values
            published = dict(zip(("threads", "processes"), PUBLISHED.get(count, ())))
            for name, of in (("threads", "step"), ("processes", "step"), ("closed_loop", "closed_loop")):
                theirs = name if name in PEERS else "processes"
                bench.report(f"{count}/{name}", rates[of][count], "steps/s", "higher", f"pymdp in {theirs}", rates[theirs][count],
                             note=f"FreeAgentics publishes {published[name]} for {name}" if name in published else None)
    efficiency(bench, rates)


def efficiency(bench: Bench, rates: dict[str, dict[int, list[float]]]) -> None:
    """Of 50 agents, in percent of what the cores allow."""
    found = {name: [100 * rate / statistics.median(of[1]) / min(50, CORES) for rate in of[50]] for name, of in rates.items()}
    for name in PEERS:
        bench.report(f"efficiency/{name}", found["closed_loop"], "%", "higher", f"pymdp in {name}", found[name],
                     Goal("value", ">=", 95), f"FreeAgentics publishes {PUBLISHED_EFFICIENCY} %" if name == "threads" else None)
    bench.report("efficiency/step", found["step"], "%", "higher")

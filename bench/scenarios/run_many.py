"""1,000 agents in closed loop with their worlds, 1,000 steps each, against the same loop in pymdp JAX (one scan under jit)

The same models and worlds on both sides, drawn from the same arrays. Ours is one CALL of fa_run_commit: what the agents are
after it is stored and committed, here once at the end. pymdp keeps nothing; its loop is compiled before the time is taken, and
steps the agents by the faster of its two forms. Both may use all cores: ours by the server's parallel workers, pymdp by JAX's
threads. Fewer steps where a step takes longer.

Also what a session's first call costs, which loads the model: its peer is the same call again.
"""
import json

import kernel_cases
from common import Bench, Goal
from comparator import Comparator

COMPARATORS = True
CASES = {"grid5x5_H1": 1000, "tmaze_H2": 200, "cue_H2": 50}


def run(bench: Bench) -> None:
    folder = kernel_cases.specs()
    agents = bench.size(1000, 20)
    with Comparator("closed_loop") as peer:
        for case, full in CASES.items():
            steps = bench.size(full, 5)
            # the model is its own world, as it is for the peer
            bench.execute("SELECT fa_model_create(%s, %s)", (case, (folder / f"{case}.json").read_text(encoding="utf-8")))
            ids = bench.one("SELECT array_agg(id) FROM fa_agent_create_many(%s, %s) AS id", (case, agents))
            call = lambda: bench.execute("CALL fa_run_commit(%s, %s, commit_every => %s)", (ids, steps, steps))
            form = peer.ask("prepare", case=case, agents=agents, steps=steps)
            ours, theirs = bench.take_turns(bench.size(2, 1), [lambda: bench.timed(call), lambda: peer.ask("run", case=case)])
            rates = [[agents * steps / second for second in seconds] for seconds in (ours, theirs)]
            bench.report(case, rates[0], "steps/s", "higher", f"pymdp JAX, {form}", rates[1], Goal("times", ">=", 5))
            first_call(bench, case, ids[0])


def first_call(bench: Bench, case: str, agent_id: int) -> None:
    first, again = [], []
    for _ in range(bench.size(9, 2)):
        with bench.connect() as conn:
            # a session's first statement of any kind fills the server's own caches
            conn.execute("SELECT count(*) FROM fa_agent WHERE agent_id = %s", (agent_id,))
            call = lambda: conn.execute("SELECT count(*) FROM fa_run(%s, 1)", (agent_id,), prepare=True)
            first.append(bench.timed(call) * 1000)
            again.append(bench.timed(call) * 1000)
    bench.report(f"{case}/first_call", first, "ms", "lower", "the same call again", again)

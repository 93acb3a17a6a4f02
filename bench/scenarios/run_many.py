"""closed loops of the standard tasks by fa_run_many, and what a session's first call costs

Up to a thousand agents of a task with their worlds, many steps in one statement: all of an agent's steps end in one write
of its row. The first call of a session loads the compiled model; its peer is the same call again.
"""
from common import Bench

# fewer agents where a step takes milliseconds
TASKS = {
    "grid": ("fa_spec_grid(5, 5)", 1_000),
    "tmaze": ("fa_spec_tmaze()", 1_000),
    "cue_chain": ("fa_spec_cue_chain()", 100),
}


def run(bench: Bench) -> None:
    steps = bench.size(20, 5)
    for task, (spec, full) in TASKS.items():
        agents = bench.size(full, 20)
        bench.create_agents(agents, spec, task)
        ids = bench.one("SELECT array_agg(a.agent_id) FROM fa_agent a JOIN fa_model m USING (model_id) WHERE m.name = %s",
                        (task,))
        call = lambda: bench.execute("SELECT count(*) FROM fa_run_many(%s, %s)", (ids, steps))
        seconds, = bench.take_turns(bench.size(3, 1), [lambda: bench.timed(call)])
        bench.report(f"{task}/rate", [agents * steps / second for second in seconds], "steps/s", "higher")
        bench.report(f"{task}/step", [second / agents / steps * 1e6 for second in seconds], "us/step", "lower")
        first_call(bench, task, ids[0])


def first_call(bench: Bench, task: str, agent_id: int) -> None:
    first, again = [], []
    for _ in range(bench.size(9, 2)):
        with bench.connect() as conn:
            # a session's first statement of any kind fills the server's own caches
            conn.execute("SELECT count(*) FROM fa_agent WHERE agent_id = %s", (agent_id,))
            call = lambda: conn.execute("SELECT count(*) FROM fa_run(%s, 1)", (agent_id,), prepare=True)
            first.append(bench.timed(call) * 1000)
            again.append(bench.timed(call) * 1000)
    bench.report(f"{task}/first", first, "ms", "lower", "the same call again", again)

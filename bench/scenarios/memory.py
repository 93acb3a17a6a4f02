"""one model of 80 MB in 100 sessions, against as many Python processes that hold it

B of 1,000 states and 10 actions, dense, in double precision: 80 MB. 100 sessions are open and have made a step with a small
model; then each makes a step with the large one. The figure is by how much all processes of the server have grown: the sum of
their proportional set sizes (Pss), in which what is shared counts once. The server's buffers have held the model before, so
they do not count as growth: their size is fixed.

The peer is a process that makes the same step with pymdp JAX, in single precision (40 MB); it has made one with a small model
before. Four are measured, all at once, and their mean stands for each of the 100, which this machine could not hold.
Goal: the server grows by less than 1.3 times the model.
"""
import json
import os
import pathlib

from common import Bench, Goal
from comparator import Crew

COMPARATORS = True
STATES, ACTIONS = 1000, 10
MEASURED = 4


def pss(pid: int) -> int:
    """Bytes. 0 for a process that has just ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def server_pss() -> int:
    """Of the postmaster and all that it has started."""
    postmaster = int(pathlib.Path(os.environ["PGDATA"], "postmaster.pid").read_text(encoding="utf-8").split()[0])
    children = pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="utf-8").split()
    return sum(pss(int(pid)) for pid in [postmaster, *children])


def spec(states: int, actions: int) -> str:
    """Every next state is as probable, but for two; the form that says so is short, and the model has no zero to leave out."""
    ones = [[i, i, 1] for i in range(states)]
    uneven = [[(after + place) % states, before, action, factor / states]
              for before in range(states) for action in range(actions)
              for after in [7 * before + 29 * action] for place, factor in ((0, 1.5), (1, 0.5))]
    return json.dumps({"A": [{"shape": [states, states], "entries": ones}],
                       "B": [{"shape": [states, states, actions], "default": 1 / states, "entries": uneven}]})


def run(bench: Bench) -> None:
    states, count = bench.size(STATES, 200), bench.size(100, 5)
    bench.execute("SELECT fa_model_create('large', %s)", (spec(states, ACTIONS),))
    model_bytes = bench.one("SELECT octet_length(body) FROM fa_model WHERE name = 'large'")
    bench.execute("SELECT fa_model_create('small', %s)", (spec(10, 2),))
    ids = {name: bench.one("SELECT array_agg(id) FROM fa_agent_create_many(%s, %s) AS id", (name, count))
           for name in ("small", "large")}
    # it passes through the server's buffers before the sessions are looked at
    bench.one("SELECT sha256(body) FROM fa_model WHERE name = 'large'")
    sessions = [bench.connect() for _ in range(count)]

    def step_all(name: str) -> None:
        for session, agent_id in zip(sessions, ids[name]):
            session.execute("SELECT * FROM fa_step(%s, '{0}')", (agent_id,))

    step_all("small")
    before = server_pss()
    bench.progress(f"{count} sessions make a step")
    step_all("large")
    grown = server_pss() - before
    for session in sessions:
        session.close()
    alone, growth = python_sizes(states)
    goal = Goal("value", "<", 1.3)
    bench.report("growth", [grown / 1e6], "MB", "lower", f"{count} Python processes", [growth * count / 1e6],
                 note=f"{count} sessions; the peer is the mean of {MEASURED} processes, times {count}, without the"
                 f" {alone / 1e6:.0f} MB that each takes before it has the model")
    bench.report("growth_by_model", [grown / model_bytes], "models", "lower", goal=goal,
                 note=f"the model takes {model_bytes / 1e6:.1f} MB")


def python_sizes(states: int) -> tuple[float, float]:
    """Bytes of a process with a small model, and by how much it grows with the large one: the means of some processes."""
    with Crew("holder", MEASURED) as crew:
        crew.ask("compile_small", [{}] * MEASURED)
        before = sum(pss(member.pid) for member in crew.members)
        crew.ask("hold", [{"states": states, "actions": ACTIONS}] * MEASURED)
        after = sum(pss(member.pid) for member in crew.members)
    return before / MEASURED, (after - before) / MEASURED

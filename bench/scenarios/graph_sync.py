"""steps whose beliefs are written to the graph at each change of mind, against the same steps without

Agents watch a machine of four states through a sensor that is wrong in 15 of 100 readings; the machine changes in 5 of 100
steps, in a world of its own. Both sides have the same agents, seeds and worlds, each in a database of its own. "others" are
agents of a model that is not synced, beside one that is. To write a node costs ten times a step of a batch, as its indexes and the old
version that is kept are written too; so what is left of the rate hangs on how often minds change, which the results tell.
"""
import json

from common import Bench, Goal

STATES = ["idle", "busy", "worn", "broken"]
RIGHT, STAYS = 0.85, 0.95
STEP = "\\set id random(1, {agents})\nSELECT * FROM fa_step(:id);\n"


def column(of: int, p: float) -> list[float]:
    return [p if state == of else (1 - p) / (len(STATES) - 1) for state in range(len(STATES))]


def transposed(columns: list[list[float]]) -> list[list[float]]:
    return [list(row) for row in zip(*columns)]


def spec() -> str:
    every = range(len(STATES))
    moves = transposed([column(state, STAYS) for state in every])
    return json.dumps({"factors": [{"name": "machine", "states": STATES}],
                       "A": [transposed([column(state, RIGHT) for state in every])],
                       "B": [[[[p] for p in row] for row in moves]]})


def prepare(bench: Bench, agents: int) -> None:
    bench.execute("SELECT fa_world_create('machine', %s)", [spec()])
    bench.execute("SELECT fa_model_create('watcher', %s), fa_model_create('another', fa_spec_grid(2, 2))", [spec()])
    bench.execute("SELECT count(*) FROM fa_agent_create_many('watcher', %s, '{\"world\": \"machine\", \"seed\": 1}')", [agents])


def settle(bench: Bench) -> None:
    bench.execute("SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))")
    bench.settle("fa_belief", "fa_node", "fa_node_history", "fa_agent")


def share_of_syncs(bench: Bench, work) -> float:
    """Of the steps that work makes, a call that returns nothing of interest."""
    count = "SELECT (SELECT count(*) FROM fa_node_history), (SELECT sum(step) FROM fa_belief)"
    versions, steps = bench.execute(count).fetchone()
    work()
    more_versions, more_steps = bench.execute(count).fetchone()
    return float((more_versions - versions) / (more_steps - steps))


def run(bench: Bench) -> None:
    agents = bench.size(10_000, 500)
    rounds = bench.size(7, 1)
    plain = bench.sibling("plain")
    sides = (bench, plain)
    for side in sides:
        prepare(side, agents)
    step = STEP.format(agents=agents)
    batch = "SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))"

    def single(side: Bench, clients: int) -> float:
        return side.pgbench(step, clients, 1)[0]

    def batched(side: Bench) -> float:
        return agents / side.timed(lambda: side.execute(batch))

    def vacuum() -> None:
        for side in sides:
            side.execute("VACUUM fa_belief, fa_node")

    for model, name, goal in (("another", "others", None), ("watcher", "sync", Goal("ratio", ">=", 0.8))):
        bench.execute("SELECT fa_belief_sync(%s, 'change')", [model])
        for side in sides:
            settle(side)
        share = share_of_syncs(bench, lambda: bench.execute(batch))
        note = f"{share:.1%} of the steps change a mind"
        for clients in (1, 8):
            ours, theirs = bench.take_turns(rounds, [lambda: single(bench, clients), lambda: single(plain, clients)])
            bench.report(f"{name}/{clients}_client{'s' if clients > 1 else ''}", ours, "steps/s", "higher", "without sync", theirs,
                         goal, note)
        ours, theirs = bench.take_turns(rounds, [lambda: batched(bench), lambda: batched(plain)], vacuum)
        bench.report(f"{name}/batch", ours, "steps/s", "higher", "without sync", theirs, goal, note)
    plain.close()

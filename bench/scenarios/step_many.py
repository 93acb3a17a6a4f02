"""one step of each of 20,000 agents in one statement, against one UPDATE of equal rows by the same ids

5x5 grid, horizon 1, ids in random order, commit included. Arrays are sent as text on both sides, and only a count comes
back. The UPDATE is planned with its ids in sight, which gives it the faster plan. Both tables are vacuumed before each run,
so that every run finds its pages alike.
"""
import random

from common import Bench, Goal

STATES = 25
BELIEF = "{" + ",".join(["0.04"] * STATES) + "}"
CALLS = {
    "observed": "SELECT count(*) FROM fa_step_many(%s::bigint[], %s::int[])",
    "inbox": "SELECT count(*) FROM fa_step_many(%s::bigint[])",
    "run_many": "SELECT count(*) FROM fa_run_many(%s::bigint[], 1)",
}
UPDATE = "UPDATE peer SET step = step + 1, vfe = vfe + 1, action = %s, belief = %s WHERE agent_id = ANY (%s::bigint[])"


def run(bench: Bench) -> None:
    agents = bench.size(20_000, 500)
    bench.create_agents(agents)
    ids = list(range(1, agents + 1))
    random.Random(1).shuffle(ids)
    id_array = "{" + ",".join(map(str, ids)) + "}"
    generator = random.Random(2)

    def observations() -> str:
        return "{" + ",".join(f"{{{generator.randrange(STATES)}}}" for _ in ids) + "}"

    def step(name: str) -> float:
        parameters = [id_array, observations()] if name == "observed" else [id_array]
        return bench.timed(lambda: bench.execute(CALLS[name], parameters)) / agents * 1e6

    def update() -> float:
        belief = "{" + ",".join([repr(generator.random())] * STATES) + "}"
        parameters = ["{%d}" % generator.randrange(5), belief, id_array]
        return bench.timed(lambda: bench.execute(UPDATE, parameters)) / agents * 1e6

    step("observed")
    bench.copy_table("fa_belief", "peer")
    bench.settle("fa_belief", "peer")
    for name in CALLS:
        ours, theirs = bench.take_turns(bench.size(9, 2), [lambda: step(name), update],
                                        lambda: bench.execute("VACUUM fa_belief, peer"))
        bench.report(name, ours, "us/agent", "lower", "plain UPDATE", theirs,
                     Goal("ratio", "<=", 1.5) if name == "observed" else None)

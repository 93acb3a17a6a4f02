"""a coordination cycle of 50 agents in 10 coalitions: each perceives, tells the others of its coalition, and acts on what all know

T-maze, 5 agents to a coalition, each in a world of its own; what they share is the context, in which the reward is. One client.
step: one statement steps all coalitions, commit included. transactions: a transaction for each coalition, one after another,
so that most of it is ten commits.
messages: the same by letters: every member steps alone, broadcasts its belief, and receives those of the others, in one
transaction for all. belief: the pooled beliefs of all coalitions are read.

FreeAgentics asks 200 ms of itself for a coordination cycle; that is published and not measured, so it is no peer. price: the peer
are the same steps without a coalition (fa_step_many), so that its ratio is the price of coordination.
"""
from common import Bench, Goal

COALITIONS = 10
MEMBERS = 5
ALL = "SELECT count(*) FROM fa_coalition c, fa_coalition_step(c.name)"
ONE = "SELECT count(*) FROM fa_coalition_step(%s)"
ALONE = "SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))"
LETTERS = [
    ALONE,
    "SELECT count(fa_broadcast(agent_id, c.name, fa_belief(agent_id))) FROM fa_coalition c JOIN fa_coalition_member USING (coalition_id)",
    "SELECT count(*) FROM fa_agent a, fa_receive(a.agent_id)",
]
BELIEF = "SELECT count(fa_coalition_belief(name)) FROM fa_coalition"


def run(bench: Bench) -> None:
    bench.execute("SELECT fa_model_create('maze', fa_spec_tmaze())")
    bench.execute("SELECT fa_world_create('maze', fa_spec_tmaze())")
    bench.execute("SELECT count(*) FROM fa_agent_create_many('maze', %s, %s)", (COALITIONS * MEMBERS, '{"world": "maze"}'))
    for c in range(COALITIONS):
        members = list(range(c * MEMBERS + 1, (c + 1) * MEMBERS + 1))
        bench.execute("SELECT fa_coalition_create(%s, %s::bigint[], factors => '{context}')", (f"c{c}", members))
    bench.settle("fa_belief", "fa_coalition_common", "fa_coalition_outcome")

    def letters() -> None:
        with bench.conn.transaction():
            for statement in LETTERS:
                bench.conn.execute(statement, prepare=True)

    def transactions() -> None:
        for c in range(COALITIONS):
            bench.conn.execute(ONE, (f"c{c}",), prepare=True)

    def each(call) -> float:
        """Milliseconds of one of several cycles."""
        cycles = bench.size(50, 3)
        return bench.timed(lambda: [call() for _ in range(cycles)]) / cycles * 1000

    sides = {
        "step": lambda: each(lambda: bench.conn.execute(ALL, prepare=True)),
        "transactions": lambda: each(transactions),
        "messages": lambda: each(letters),
        "belief": lambda: each(lambda: bench.conn.execute(BELIEF, prepare=True)),
        "alone": lambda: each(lambda: bench.conn.execute(ALONE, prepare=True)),
    }
    taken = dict(zip(sides, bench.take_turns(bench.size(7, 2), list(sides.values()))))
    for name in ("step", "transactions", "messages"):
        bench.report(name, taken[name], "ms", "lower", goal=Goal("value", "<", 5) if name == "step" else None,
                     note="FreeAgentics publishes a target of 200 ms for a coordination cycle")
    bench.report("belief", taken["belief"], "ms", "lower")
    bench.report("price", taken["step"], "ms", "lower", "fa_step_many alone", taken["alone"])

"""disk that an agent takes, new and after twenty steps, against equal rows with twenty plain UPDATEs

10,000 agents of the 5x5 grid: their rows, with indexes and all that belongs to them. The agents step together, one
statement and commit a step; the peer's rows are updated as often to values of the same width. Nothing vacuums.
"""
from common import Bench, Goal

STATES = 25
STEP = """
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id ORDER BY agent_id) FROM fa_agent),
    (SELECT array_agg(ARRAY[((agent_id + {round}) % {states})::int] ORDER BY agent_id) FROM fa_agent))
"""
UPDATE = """
UPDATE peer_belief SET step = step + 1, vfe = 0.5, action = '{{1}}', belief = array_fill({round}::float8, ARRAY[{states}])
"""


def bytes_of(bench: Bench, tables: list[str], agents: int) -> list[float]:
    return [sum(bench.one("SELECT pg_total_relation_size(%s)", (table,)) for table in tables) / agents]


def run(bench: Bench) -> None:
    agents = bench.size(10_000, 500)
    bench.create_agents(agents)
    bench.copy_table("fa_agent", "peer_agent")
    bench.copy_table("fa_belief", "peer_belief")
    bench.settle("fa_agent", "fa_belief", "peer_agent", "peer_belief")

    def report(name: str) -> None:
        bench.report(name, bytes_of(bench, ["fa_agent", "fa_belief", "fa_learned"], agents), "bytes", "lower",
                     "equal rows", bytes_of(bench, ["peer_agent", "peer_belief"], agents), Goal("value", "<", 1000))

    report("new")
    for i in range(20):
        bench.execute(STEP.format(round=i, states=STATES))
        bench.execute(UPDATE.format(round=i, states=STATES))
    report("after_20_steps")

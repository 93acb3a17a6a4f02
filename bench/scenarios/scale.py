"""what a step costs, and an agent takes, as a database grows: 1 thousand, 100 thousand and 1 million agents

The peer is this extension itself with 1 thousand agents, in a database beside the one that grows. A sweep steps every agent
once, in statements of 1,000 agents, ids as they come, a commit each; single steps are pgbench's, of agents by chance. The
small database is swept often enough to last as long. The first sweep after the agents are made does not count: it writes
each page for the first time (scenario wal has what that costs). bytes is what tables and indexes take by agent, after the
sweeps with a vacuum between. Goals: 1.2 times the cost at most, under 1,000 bytes; a thousand agents have none, for by so few
the maps of free space that each table has, and pages hardly begun, are a tenth of it all.

held: 20 sweeps of 100 thousand agents while another session keeps a snapshot open, so that no version may go; the peer is an
equal table with as many plain UPDATEs under the same snapshot. after_held: as many sweeps once more, with the snapshot gone and
a vacuum between: the room is used again, so the size must stay.
"""
from common import Bench, Goal

STATEMENT = 1000
CREATED = 100_000
SWEEP = """
DO $$
BEGIN
    FOR i IN 0..{last} LOOP
        PERFORM count(*) FROM fa_step_many(ARRAY(SELECT i * {statement} + j FROM generate_series(1, {statement}) j),
            ARRAY(SELECT ARRAY[(i * 7 + j * {factor}) % 25] FROM generate_series(1, {statement}) j));
        COMMIT;
    END LOOP;
END $$
"""
STEP = """\\set id random(1, {agents})
\\set outcome random(0, 24)
SELECT * FROM fa_step(:id, ARRAY[:outcome]::int[]);
"""
UPDATE = "UPDATE peer SET step = step + 1, vfe = vfe + 1, action = '{{{0}}}', belief = array_fill({0}::float8, ARRAY[25])"
TABLES = ["fa_agent", "fa_belief", "fa_learned"]


def sweep(bench: Bench, agents: int, turn: int) -> None:
    bench.execute(SWEEP.format(last=agents // STATEMENT - 1, statement=STATEMENT, factor=turn % 24 + 1))


def sweeps(bench: Bench, agents: int, count: int) -> float:
    """Microseconds of a step, of count sweeps."""
    return bench.timed(lambda: [sweep(bench, agents, turn) for turn in range(count)]) / count / agents * 1e6


def grow(bench: Bench, agents: int) -> None:
    """To so many agents, which have ids from 1 on, each stepped once."""
    have = bench.one("SELECT count(*) FROM fa_agent")
    for first in range(have, agents, CREATED):
        bench.execute("SELECT count(*) FROM fa_agent_create_many('grid', %s)", (min(CREATED, agents - first),))
    bench.settle(*TABLES)
    sweep(bench, agents, 0)
    bench.execute("VACUUM fa_belief")


def bytes_of(bench: Bench, agents: int, tables: list[str]) -> list[float]:
    return [sum(bench.one("SELECT pg_total_relation_size(%s)", (table,)) for table in tables) / agents]


def run(bench: Bench) -> None:
    small = STATEMENT
    bench.execute("SELECT fa_model_create('grid', fa_spec_grid(5, 5))")
    beside = bench.sibling("small")
    beside.execute("SELECT fa_model_create('grid', fa_spec_grid(5, 5))")
    grow(beside, small)
    for name, full in (("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000)):
        agents = bench.size(full, min(full, 5_000))
        grow(bench, agents)
        measure(bench, name, agents, beside, small)
        if name == "100k":
            held(bench, agents)
    beside.close()


def measure(bench: Bench, name: str, agents: int, beside: Bench, small: int) -> None:
    rounds = bench.size(2, 1)

    def vacuum() -> None:
        bench.execute("VACUUM fa_belief")
        beside.execute("VACUUM fa_belief")

    goal = Goal("ratio", "<=", 1.2) if agents > small else None
    steps = bench.size(100_000, 5_000)
    ours, theirs = bench.take_turns(rounds, [lambda: sweeps(bench, agents, max(1, steps // agents)),
                                             lambda: sweeps(beside, small, steps // small)], vacuum)
    bench.report(f"{name}/sweep", ours, "us/step", "lower", "1 thousand agents", theirs, goal)
    seconds = bench.size(2, 1)
    ours, theirs = bench.take_turns(rounds, [
        lambda: 1e6 / bench.pgbench(STEP.format(agents=agents), 2, seconds, settings={"synchronous_commit": "off"})[0],
        lambda: 1e6 / beside.pgbench(STEP.format(agents=small), 2, seconds, settings={"synchronous_commit": "off"})[0]], vacuum)
    bench.report(f"{name}/single", ours, "us/step", "lower", "1 thousand agents", theirs, goal)
    bench.report(f"{name}/bytes", bytes_of(bench, agents, TABLES), "bytes", "lower", "1 thousand agents",
                 bytes_of(beside, small, TABLES), Goal("value", "<", 1000) if agents > small else None)


def held(bench: Bench, agents: int) -> None:
    count = bench.size(20, 3)
    bench.copy_table("fa_belief", "peer")
    before = bytes_of(bench, agents, ["fa_belief"])[0], bytes_of(bench, agents, ["peer"])[0]
    with bench.connect() as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        for turn in range(count):
            sweep(bench, agents, turn)
            bench.execute(UPDATE.format(turn))
            bench.execute("VACUUM fa_belief, peer")
        during = bytes_of(bench, agents, ["fa_belief"])[0], bytes_of(bench, agents, ["peer"])[0]
    note = f"grew from {before[0]:.0f} bytes in {count} sweeps"
    bench.report("held/bytes", [during[0]], "bytes", "lower", "plain UPDATEs", [during[1]], Goal("ratio", "<=", 1.1), note)
    bench.execute("VACUUM fa_belief")
    for turn in range(count):
        sweep(bench, agents, turn)
        bench.execute("VACUUM fa_belief")
    bench.report("after_held/bytes", bytes_of(bench, agents, ["fa_belief"]), "bytes", "lower", "while it was held", [during[0]],
                 Goal("ratio", "<=", 1.01))
    bench.execute("DROP TABLE peer")
    # the growth is this part's alone
    bench.execute("VACUUM FULL fa_belief")
    sweep(bench, agents, 0)

"""log written by a step, single and batched, against an UPDATE that writes the very same rows

The peer is a copy of the agents' rows, down to their place in the pages. After the agents have stepped, their new values are
put aside in an unlogged table, and the peer's rows are updated to them, by as many transactions. So both sides log the same
change of the same bytes; what is more on our side is our own doing. With full-page images: just after a checkpoint.
Without: the same agents once more, each of their pages having been logged whole.
"""
from common import Bench, Goal

# who steps, in an order that is not that of the pages; and outcomes, made here so that no side computes them while it is
# measured
PREPARE = """
CREATE UNLOGGED TABLE stepped AS
SELECT agent_id, row_number() OVER () AS place, outcomes FROM
    (SELECT agent_id, ARRAY[hashint8(agent_id + 1) & 15, hashint8(agent_id + 2) & 15] AS outcomes
     FROM fa_agent ORDER BY hashint8(agent_id) LIMIT {stepped}) AS a
"""
STEP_ONE = """
DO $$
DECLARE
    who record;
BEGIN
    FOR who IN SELECT agent_id, outcomes[{round}] AS outcome FROM stepped ORDER BY place LOOP
        PERFORM fa_step(who.agent_id, ARRAY[who.outcome]);
        COMMIT;
    END LOOP;
END $$
"""
STEP_ALL = """
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id ORDER BY place) FROM stepped),
    (SELECT array_agg(ARRAY[outcomes[{round}]] ORDER BY place) FROM stepped))
"""
UPDATE_ALL = """
UPDATE peer p SET trial = n.trial, step = n.step, vfe = n.vfe, action = n.action, world_state = n.world_state,
    observation = n.observation, did = n.did, before = n.before, belief = n.belief
FROM after_{round} n WHERE p.agent_id = n.agent_id"""
UPDATE_ONE = """
DO $$
DECLARE
    who record;
BEGIN
    FOR who IN SELECT agent_id FROM stepped ORDER BY place LOOP
        %s AND n.agent_id = who.agent_id;
        COMMIT;
    END LOOP;
END $$
""" % UPDATE_ALL
ROUNDS = {1: "full_pages", 2: "no_full_pages"}


def run(bench: Bench) -> None:
    stepped = bench.size(2_000, 100)
    bench.create_agents(bench.size(20_000, 1_000))
    bench.execute(PREPARE.format(stepped=stepped))
    bench.execute("SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent))")
    bench.execute("VACUUM FULL fa_belief")
    bench.copy_table("fa_belief", "peer")
    for how, ours, theirs in (("single", STEP_ONE, UPDATE_ONE), ("batched", STEP_ALL, UPDATE_ALL)):
        bench.execute("VACUUM (FREEZE, ANALYZE) fa_belief, peer")
        values: dict[int, list[float]] = {}
        peers: dict[int, list[float]] = {}
        bench.execute("CHECKPOINT")
        for i in ROUNDS:
            values[i] = [written(bench, ours.format(round=i)) / stepped]
            put_aside(bench, "fa_belief", f"after_{i}")
        bench.execute("CHECKPOINT")
        for i in ROUNDS:
            peers[i] = [written(bench, theirs.format(round=i)) / stepped]
            put_aside(bench, "peer", "read_alike")
        for i, name in ROUNDS.items():
            bench.report(f"{how}/{name}", values[i], "bytes", "lower", "plain UPDATE", peers[i], Goal("ratio", "<=", 1.1))


def put_aside(bench: Bench, table: str, copy: str) -> None:
    """Copies the stepped rows. Reading prunes pages, and that is logged: so it is done to both sides, and does not count."""
    bench.execute(f"DROP TABLE IF EXISTS {copy}")
    bench.execute(f"CREATE UNLOGGED TABLE {copy} (LIKE fa_belief INCLUDING ALL)")
    bench.execute(f"INSERT INTO {copy} SELECT b.* FROM {table} b JOIN stepped USING (agent_id)")


def written(bench: Bench, statement: str) -> int:
    """Bytes of log that a statement writes."""
    before = bench.one("SELECT pg_current_wal_insert_lsn()")
    bench.execute(statement)
    return int(bench.one("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", (before,)))

"""creating agents, against plain INSERTs of equal rows

One at a time, with a commit each (pgbench's log) and without (a loop in the server), where the figure of a round is the
median of its agents; ten at once, one in each of ten open sessions, from the first call to the last commit; and many in one
statement. The peer inserts rows as wide into copies of both tables, with the same indexes, ids from a sequence. The goals are
1 ms an agent, and 5 s for 100,000 of them.
"""
import statistics
from typing import Callable

import psycopg

from common import Bench, Goal

LOOP = """
CREATE FUNCTION {name}(count int) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
    taken float8[];
BEGIN
    FOR i IN 1..count LOOP
        began := clock_timestamp();
        {statement};
        taken := taken || extract(epoch FROM clock_timestamp() - began)::float8 * 1000;
    END LOOP;
    RETURN taken;
END $$
"""
# one statement writes both rows; the literals stand for what an application would send
INSERT = """
WITH a AS (INSERT INTO peer_agent (agent_id, model_id, owner, phase, params, created_at)
           SELECT id, 1, 'postgres'::regrole, (((id >> 5) & 65535) * 40503 & 65535)::int, '{{}}', now()
           FROM (SELECT nextval('peer_id_seq') AS id FROM generate_series(1, {count})) s RETURNING agent_id)
INSERT INTO peer_belief (agent_id, model_id, seed, owner, history, paused, model_digest, trial, step, belief)
SELECT agent_id, 1, agent_id * 7919, 'postgres'::regrole, 0, false, '{digest}', 0, 0, '{belief}'::float8[] FROM a"""


def run(bench: Bench) -> None:
    bench.create_agents(1)
    bench.copy_table("fa_agent", "peer_agent", rows=False)
    bench.copy_table("fa_belief", "peer_belief", rows=False)
    bench.execute("CREATE SEQUENCE peer_id_seq")
    digest, belief = bench.execute("SELECT model_digest::text, belief::text FROM fa_belief").fetchone()

    def insert(count: int) -> str:
        return INSERT.format(count=count, digest=digest, belief=belief)

    bench.execute(LOOP.format(name="spawn_ours", statement="PERFORM fa_agent_create('grid')"))
    bench.execute(LOOP.format(name="spawn_peer", statement=insert(1)))
    one = bench.size(100, 10)

    def commit(statement: str) -> Callable[[], float]:
        return lambda: statistics.median(bench.pgbench(statement + ";", transactions=one)[1])

    def no_commit(function: str) -> Callable[[], float]:
        return lambda: statistics.median(bench.one(f"SELECT {function}(%s)", (one,)))

    def parallel(statement: str) -> Callable[[], float]:
        return lambda: bench.timed(lambda: at_once(sessions, statement)) * 1000

    def many(count: int) -> list[Callable[[], float]]:
        create = f"SELECT count(*) FROM fa_agent_create_many('grid', {count})"
        return [lambda: bench.timed(lambda: bench.execute(create)),
                lambda: bench.timed(lambda: bench.execute(insert(count)))]

    def report(name: str, unit: str, limit: float, rounds: int, sides: list[Callable[[], float]]) -> None:
        ours, theirs = bench.take_turns(bench.size(rounds, 1), sides)
        bench.report(name, ours, unit, "lower", "plain INSERTs", theirs, Goal("value", "<", limit))

    report("1/commit", "ms", 1, 9, [commit("SELECT fa_agent_create('grid')"), commit(insert(1))])
    report("1/no_commit", "ms", 1, 9, [no_commit("spawn_ours"), no_commit("spawn_peer")])
    sessions = [bench.connect() for _ in range(10)]
    report("10/parallel", "ms", 10, 25, [parallel("SELECT fa_agent_create('grid')"), parallel(insert(1))])
    for session in sessions:
        session.close()
    report("10000", "s", 1, 5, many(bench.size(10_000, 200)))
    report("100000", "s", 5, 3, many(bench.size(100_000, 500)))


def at_once(sessions: list[psycopg.Connection], statement: str) -> None:
    """Sends it in all sessions before it waits for the first answer."""
    for session in sessions:
        session.pgconn.send_query(statement.encode())
    for session in sessions:
        while (result := session.pgconn.get_result()) is not None:
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                raise RuntimeError(result.error_message.decode())

"""A client of the extension in Python, psycopg 3: what the workers that we compare with become when the steps are in the server.

Agents have the ids 1 to agents; outcomes are drawn here, as they are in the workers.
"""
from __future__ import annotations

import random
import time
from typing import Any

import psycopg

from serve import array, serve

STEP = "SELECT * FROM fa_step(%s, %s::int[])"
STEP_ONCE = "SELECT * FROM fa_step(%s, %s::int[], %s)"
STEP_MANY = "SELECT agent_id, action[1] FROM fa_step_many(%s::bigint[], %s::int[])"

state: dict[str, Any] = {}


def prepare(dsn: str, agents: int, outcomes: int) -> None:
    state.update(conn=psycopg.connect(dsn, autocommit=True), agents=agents, outcomes=outcomes)
    state["conn"].prepare_threshold = 0


def single(seconds: float, keys: str | None = None) -> float:
    """Steps a second, one commit each, of agents taken by chance; with a key each, if keys says how the keys begin."""
    conn, done = state["conn"], 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        arguments = [random.randint(1, state["agents"]), [random.randrange(state["outcomes"])]]
        if keys is None:
            conn.execute(STEP, arguments, binary=True).fetchone()
        else:
            conn.execute(STEP_ONCE, [*arguments, f"{keys}-{done}"], binary=True).fetchone()
        done += 1
    return done / (time.perf_counter() - start)


def batched(count: int, rounds: int) -> float:
    """Steps a second, count of them a commit; actions come back, as a worker has them."""
    conn, done = state["conn"], 0
    start = time.perf_counter()
    for _ in range(rounds):
        ids = random.sample(range(1, state["agents"] + 1), count)
        outcomes = array(f"{{{random.randrange(state['outcomes'])}}}" for _ in ids)
        done += len(conn.execute(STEP_MANY, (array(ids), outcomes), binary=True).fetchall())
    return done / (time.perf_counter() - start)


serve(prepare=prepare, single=single, batched=batched)

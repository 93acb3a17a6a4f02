"""A client of the extension in Python, psycopg 3: what the workers that we compare with become when the steps are in the server.

Agents have the ids 1 to agents; outcomes are drawn here, as they are in the workers.
"""
from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import psycopg

from serve import array, serve

STEP = "SELECT action[1] FROM fa_step(%s, %s::int[])"
STEP_ONCE = "SELECT action[1] FROM fa_step(%s, %s::int[], %s)"
# in the order of the ids, and as text: the driver takes longer for rows, and for arrays in binary
STEP_MANY = "SELECT string_agg(action[1]::text, ',') FROM fa_step_many(%s::bigint[], %s::int[])"
# what storing alone takes: peer is a table like ours
STORE_MANY = """WITH stored AS (
    UPDATE peer SET step = step + 1, vfe = vfe + 1, action = %s, belief = %s WHERE agent_id = ANY (%s::bigint[]) RETURNING action)
SELECT string_agg(action[1]::text, ',') FROM stored"""

state: dict[str, Any] = {}


def prepare(dsn: str, agents: int, outcomes: int) -> None:
    state.update(conn=psycopg.connect(dsn, autocommit=True), agents=agents, outcomes=outcomes)
    state["conn"].prepare_threshold = 0


def single(seconds: float, keys: str | None = None) -> float:
    """Steps a second, one commit each, of agents taken by chance; with a key each, if keys says how the keys begin."""
    conn, done = state["conn"], 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        arguments = [random.randint(1, state["agents"]), f"{{{random.randrange(state['outcomes'])}}}"]
        if keys is None:
            conn.execute(STEP, arguments, binary=True).fetchone()
        else:
            conn.execute(STEP_ONCE, [*arguments, f"{keys}-{done}"], binary=True).fetchone()
        done += 1
    return done / (time.perf_counter() - start)


def batched(count: int, rounds: int, store: bool = False) -> float:
    """Steps a second, count of them a commit; actions come back, as a worker has them. store: a plain UPDATE instead."""
    conn, done = state["conn"], 0
    start = time.perf_counter()
    for _ in range(rounds):
        ids = array(random.sample(range(1, state["agents"] + 1), count))
        outcomes = np.random.randint(state["outcomes"], size=count).tolist()
        if store:
            belief = array([random.random()] * state["outcomes"])
            answer = conn.execute(STORE_MANY, (f"{{{outcomes[0]}}}", belief, ids), binary=True)
        else:
            answer = conn.execute(STEP_MANY, (ids, "{{" + "},{".join(map(str, outcomes)) + "}}"), binary=True)
        done += len(list(map(int, answer.fetchone()[0].split(","))))
    return done / (time.perf_counter() - start)


serve(prepare=prepare, single=single, batched=batched)

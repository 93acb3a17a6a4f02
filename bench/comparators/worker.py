"""An application's worker in Python, as well as it can be written: psycopg 3, pymdp under jit, agents as rows of a table.

The row is read, the step computed, the row written; a commit is one step of one agent, or of thousands. No lock is held while
it computes: the row is written where it is still at the step that was read, so a step takes two statements and one commit.
Beliefs are stored as the bytes of float32, the cheapest to send and to read.

The table: worker(agent_id bigint PRIMARY KEY, step bigint, action int, prior bytea): the next step's prior, [state] float32.
"""
from __future__ import annotations

import random
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psycopg

from models import CASES
from pymdp_jax import make_agent, step
from serve import array, serve

READ = "SELECT step, prior FROM worker WHERE agent_id = %s"
WRITE = "UPDATE worker SET step = step + 1, action = %s, prior = %s WHERE agent_id = %s AND step = %s"
READ_MANY = "SELECT agent_id, step, prior FROM worker WHERE agent_id = ANY (%s::bigint[])"
WRITE_MANY = """UPDATE worker w SET step = w.step + 1, action = n.action, prior = n.prior
FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::bytea[]) AS n (agent_id, step, action, prior)
WHERE w.agent_id = n.agent_id AND w.step = n.step"""

state: dict[str, Any] = {}


def prepare(dsn: str, case: str, agents: int, batch: int) -> None:
    """Connects; compiles a step of one agent and, unless batch is 0, one of batch agents (models of one factor)."""
    model = CASES[case]()
    state.update(conn=psycopg.connect(dsn, autocommit=True), agents=agents, outcomes=len(model["A"][0]), key=jax.random.PRNGKey(0))
    state["conn"].prepare_threshold = 0
    agent = make_agent(model, 1)

    def one(outcome: Any, prior: Any, key: Any) -> tuple[Any, Any]:
        """outcome a number, prior [state] -> action, next prior [state]."""
        action, after, _ = step(agent, [jnp.reshape(outcome, (1, 1))], [prior[None]], key[None])
        return action[0, 0], after[0][0]

    state["one"] = jax.jit(one)
    state["many"] = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    prior = model["D"][0].astype(np.float32)
    state["one"](0, prior, state["key"])
    if batch:
        state["many"](np.zeros(batch, dtype=np.int32), np.tile(prior, (batch, 1)), state["key"])


def create() -> None:
    """The table, with as many agents as prepare() was told."""
    prior = np.full(state["outcomes"], 1 / state["outcomes"], dtype=np.float32).tobytes()
    conn = state["conn"]
    conn.execute("CREATE TABLE worker (agent_id bigint PRIMARY KEY, step bigint, action int, prior bytea) WITH (fillfactor = 50)")
    conn.execute("ALTER TABLE worker ALTER prior SET STORAGE EXTERNAL")
    conn.execute("INSERT INTO worker SELECT i, 0, NULL, %s FROM generate_series(1, %s) i", (prior, state["agents"]))
    conn.execute("VACUUM ANALYZE worker")


def single(seconds: float) -> float:
    """Steps a second, one commit each, of agents taken by chance."""
    conn, one, done = state["conn"], state["one"], 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        agent_id = random.randint(1, state["agents"])
        at, prior = conn.execute(READ, (agent_id,), binary=True).fetchone()
        action, after = one(random.randrange(state["outcomes"]), np.frombuffer(prior, dtype=np.float32), state["key"])
        # who was overtaken would try again; it did not make a step
        done += conn.execute(WRITE, (int(action), np.asarray(after).tobytes(), agent_id, at)).rowcount
    return done / (time.perf_counter() - start)


def batched(count: int, rounds: int) -> float:
    """Steps a second, count of them a commit."""
    conn, many, done = state["conn"], state["many"], 0
    start = time.perf_counter()
    for _ in range(rounds):
        ids = random.sample(range(1, state["agents"] + 1), count)
        rows = conn.execute(READ_MANY, (array(ids),), binary=True).fetchall()
        prior = np.frombuffer(b"".join(row[2] for row in rows), dtype=np.float32).reshape(count, -1)
        outcomes = np.random.randint(state["outcomes"], size=count, dtype=np.int32)
        actions, after = map(np.asarray, many(outcomes, prior, state["key"]))
        done += conn.execute(WRITE_MANY, (array(row[0] for row in rows), array(row[1] for row in rows), array(actions.tolist()),
                                          [line.tobytes() for line in after])).rowcount
    return done / (time.perf_counter() - start)


serve(prepare=prepare, create=create, single=single, batched=batched)

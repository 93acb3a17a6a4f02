"""An application's worker in Python, as well as it can be written: psycopg 3, pymdp under jit, agents as rows of a table.

The row is read, the step computed, the row written; a commit is one step of one agent, or of thousands. No lock is held while
it computes: the row is written where it is still at the step that was read, so a step takes two statements and one commit.

Two tables hold what the next step starts from, its prior [state]: in worker_bytes it is the bytes of float32, which are the
cheapest to send and to read, but mean nothing to SQL; in worker_array it is a float8[], as the extension has it.
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

CREATE = """CREATE TABLE worker_{0} (agent_id bigint PRIMARY KEY, step bigint, action int, prior {1})
WITH (fillfactor = 50)"""
READ = "SELECT step, prior FROM worker_bytes WHERE agent_id = %s"
WRITE = "UPDATE worker_bytes SET step = step + 1, action = %s, prior = %s WHERE agent_id = %s AND step = %s"
READ_MANY = "SELECT agent_id, step, prior FROM worker_{0} WHERE agent_id = ANY (%s::bigint[])"
# many arrays at once can only be sent as text
WRITE_MANY = """UPDATE worker_{0} w SET step = w.step + 1, action = n.action, prior = n.prior::{1}
FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::{2}[]) AS n (agent_id, step, action, prior)
WHERE w.agent_id = n.agent_id AND w.step = n.step"""
TYPES = {"bytes": ("bytea", "bytea"), "array": ("float8[]", "text")}

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
    """The tables, with as many agents as prepare() was told."""
    conn = state["conn"]
    prior = [1 / state["outcomes"]] * state["outcomes"]
    for name, value in (("bytes", np.array(prior, dtype=np.float32).tobytes()), ("array", prior)):
        conn.execute(CREATE.format(name, TYPES[name][0]))
        conn.execute(f"ALTER TABLE worker_{name} ALTER prior SET STORAGE EXTERNAL")
        conn.execute(f"INSERT INTO worker_{name} SELECT i, 0, NULL, %s FROM generate_series(1, %s) i", (value, state["agents"]))
        conn.execute(f"VACUUM ANALYZE worker_{name}")


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


def batched(count: int, rounds: int, table: str) -> float:
    """Steps a second, count of them a commit; table is "bytes" or "array"."""
    conn, many, done = state["conn"], state["many"], 0
    read, write = READ_MANY.format(table), WRITE_MANY.format(table, *TYPES[table])
    start = time.perf_counter()
    for _ in range(rounds):
        ids = random.sample(range(1, state["agents"] + 1), count)
        rows = conn.execute(read, (array(ids),), binary=True).fetchall()
        outcomes = np.random.randint(state["outcomes"], size=count, dtype=np.int32)
        actions, after = map(np.asarray, many(outcomes, PACK[table]([row[2] for row in rows]), state["key"]))
        done += conn.execute(write, (array(row[0] for row in rows), array(row[1] for row in rows), array(actions.tolist()),
                                     UNPACK[table](after))).rowcount
    return done / (time.perf_counter() - start)


# between what the driver has and [agent, state] float32
PACK = {"bytes": lambda priors: np.frombuffer(b"".join(priors), dtype=np.float32).reshape(len(priors), -1),
        "array": lambda priors: np.array(priors, dtype=np.float32)}
UNPACK = {"bytes": lambda priors: [line.tobytes() for line in priors], "array": lambda priors: [array(line) for line in priors.tolist()]}

serve(prepare=prepare, create=create, single=single, batched=batched)

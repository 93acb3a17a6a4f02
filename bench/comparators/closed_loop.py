"""pymdp agents in closed loop with their worlds, all steps in one scan under jit, for scenarios/run_many.py.

The world is the model's own process: a state for each factor, drawn from B by the action, and outcomes drawn from A. The
agents are stepped by the Agent's own batch axis or by vmap over one Agent, whichever is faster. Only the last belief is kept.
"""
from __future__ import annotations

import time
from typing import Any, Callable

import jax
import jax.numpy as jnp

from models import CASES, Model
from pymdp_jax import make_agent, step
from serve import serve

TRIAL_STEPS = 10
loops: dict[str, Callable[[], Any]] = {}


def agents_step(model: Model, count: int, form: str) -> Callable[..., Any]:
    """(outcomes [modality][agent], prior [factor][agent, state], keys) -> action [agent, factor], next prior."""
    if form == "agent":
        agent = make_agent(model, count)
        return lambda outcomes, prior, keys: step(agent, [o[:, None] for o in outcomes], prior, keys)[:2]
    agent = make_agent(model, 1)

    def one(outcomes: Any, prior: Any, key: Any) -> Any:
        action, after, _ = step(agent, [o[None, None] for o in outcomes], [p[None] for p in prior], key[None])
        return action[0], [p[0] for p in after]

    return jax.vmap(one)


def loop(model: Model, count: int, steps: int, form: str) -> Callable[[], Any]:
    acts = agents_step(model, count, form)
    logs = {name: [jnp.log(jnp.asarray(x, dtype=jnp.float32)) for x in model[name]] for name in "ABD"}

    def draw(key: Any, table: Any, at: tuple[Any, ...]) -> Any:
        """One outcome or state for each agent; table is [what is drawn, ...], at has an index [agent] for each axis after."""
        return jax.random.categorical(key, table[(slice(None), *at)], axis=0)

    def turn(carry: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], None]:
        """The worlds answer, the agents act, the worlds move."""
        states, prior = carry
        keys = jax.random.split(key, 3)
        outcomes = [draw(jax.random.fold_in(keys[0], m), logs["A"][m], tuple(states[f] for f in of))
                    for m, of in enumerate(model["A_dependencies"])]
        action, prior = acts(outcomes, prior, jax.random.split(keys[1], count))
        states = [draw(jax.random.fold_in(keys[2], f), logs["B"][f], (*(states[g] for g in of), action[:, f]))
                  for f, of in enumerate(model["B_dependencies"])]
        return (states, prior), None

    def lives(key: Any) -> Any:
        prior = [jnp.broadcast_to(jnp.asarray(d, dtype=jnp.float32), (count, len(d))) for d in model["D"]]
        states = [jax.random.categorical(jax.random.fold_in(key, f), d, shape=(count,)) for f, d in enumerate(logs["D"])]
        (_, belief), _ = jax.lax.scan(turn, (states, prior), jax.random.split(key, steps))
        return belief

    compiled = jax.jit(lives)
    return lambda: jax.block_until_ready(compiled(jax.random.PRNGKey(0)))


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def prepare(case: str, agents: int, steps: int) -> str:
    """Finds the faster form by a few steps, and compiles the loop."""
    model, taken = CASES[case](), {}
    for form in ("vmap", "agent"):
        call = loop(model, agents, TRIAL_STEPS, form)
        call()
        taken[form] = min(seconds_of(call) for _ in range(3))
    best = min(taken, key=taken.get)
    loops[case] = loop(model, agents, steps, best)
    loops[case]()
    return best


def run(case: str) -> float:
    """Seconds of the whole."""
    return seconds_of(loops[case])


serve(prepare=prepare, run=run)

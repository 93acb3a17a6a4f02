"""pymdp 1.0 as its users run it: JAX in single precision, one whole step under jit.

A step is state inference, policy inference, choice of an action, and the next prior: what fa_step computes.
"""
from __future__ import annotations

import os
import pathlib
import statistics
import time
import warnings
from typing import Any, Callable

warnings.filterwarnings("ignore")
# To compile takes far longer than to measure: what was compiled is kept between runs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "bench" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import jax.numpy as jnp
import numpy as np
from pymdp.agent import Agent

from models import Model


def make_agent(model: Model, batch: int) -> Agent:
    """batch agents of one model in one Agent, which is pymdp's own way to step many."""
    arguments = {name: [jnp.asarray(x) for x in value] if name in ("A", "B", "C", "D") else value
                 for name, value in model.items()}
    return Agent(**arguments, batch_size=batch)


def step(agent: Agent, outcomes: list[Any], prior: list[Any], keys: Any) -> tuple[Any, Any, Any]:
    """outcomes[m] is [agent], prior[f] [agent, state], keys one a agent. Gives action [agent, factor], next prior, belief."""
    belief = agent.infer_states(outcomes, empirical_prior=prior)
    policies, _ = agent.infer_policies(belief)
    action = agent.sample_action(policies, rng_key=keys)
    return action, agent.update_empirical_prior(action, belief), belief


def batched(model: Model, batch: int, form: str) -> Callable[[], Any]:
    """One step of each of batch agents: by the Agent's own batch axis ("agent"), or by vmap over one Agent ("vmap")."""
    generator = np.random.default_rng(0)
    agent = make_agent(model, batch if form == "agent" else 1)
    axes = (batch,) if form == "agent" else (batch, 1)
    outcomes = [jnp.asarray(generator.integers(0, len(a), size=axes)) for a in model["A"]]
    prior = [jnp.broadcast_to(jnp.asarray(d, dtype=jnp.float32), (*axes, len(d))) for d in model["D"]]
    keys = jax.random.split(jax.random.PRNGKey(0), batch).reshape(*axes, -1)
    one = lambda o, p, k: step(agent, o, p, k)
    compiled = jax.jit(one if form == "agent" else jax.vmap(one))
    return lambda: jax.block_until_ready(compiled(outcomes, prior, keys))


def microseconds(call: Callable[[], Any], agents: int, seconds: float) -> float:
    """Median time of a call by the number of its agents; three calls at least."""
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) / agents * 1e6

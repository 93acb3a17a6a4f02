"""A Python process that has a large model and steps one agent of it, for scenarios/memory.py."""
from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pymdp_jax import make_agent, step
from serve import serve

state: dict[str, Any] = {}


def compile_small() -> None:
    """A step of a small model first, so that what libraries take by themselves is taken."""
    hold(10, 2)


def hold(states: int, actions: int) -> None:
    """One factor, seen as it is; B [next state, state, action] float32 is nearly all of the model."""
    column = np.arange(1, states + 1, dtype=np.float32)
    column /= column.sum()
    places = (7 * np.arange(states)[:, None, None] + 13 * np.arange(states)[None, :, None] + 29 * np.arange(actions)) % states
    model = {"A": [np.eye(states, dtype=np.float32)], "B": [column[places]], "C": [np.zeros(states)],
             "D": [np.full(states, 1 / states)], "A_dependencies": [[0]], "B_dependencies": [[0]], "policy_len": 1}
    del places
    agent = make_agent(model, 1)
    del model
    # the agent is an argument: as a constant of the program it would be there twice
    call = jax.jit(step)
    state["agent"] = agent
    jax.block_until_ready(call(agent, [np.zeros((1, 1), dtype=int)], agent.D, jax.random.split(jax.random.PRNGKey(0), 1)))


serve(compile_small=compile_small, hold=hold)

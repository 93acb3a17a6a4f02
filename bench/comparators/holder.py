"""A Python process that has a large model and steps one agent of it, for scenarios/memory.py."""
from __future__ import annotations

import gc
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
    B = np.full((states, states, actions), 1 / states, dtype=np.float32)
    before, action = np.indices((states, actions))
    for place, factor in ((0, 1.5), (1, 0.5)):
        B[(7 * before + 29 * action + place) % states, before, action] *= factor
    model = {"A": [np.eye(states, dtype=np.float32)], "B": [B], "C": [np.zeros(states)],
             "D": [np.full(states, 1 / states)], "A_dependencies": [[0]], "B_dependencies": [[0]], "policy_len": 1}
    agent = make_agent(model, 1)
    del model, B
    # the agent is an argument: as a constant of the program it would be there twice
    call = jax.jit(step)
    state["agent"] = agent
    jax.block_until_ready(call(agent, [np.zeros((1, 1), dtype=int)], agent.D, jax.random.split(jax.random.PRNGKey(0), 1)))
    # what the making of the agent has left behind
    del agent
    gc.collect()


serve(compile_small=compile_small, hold=hold)

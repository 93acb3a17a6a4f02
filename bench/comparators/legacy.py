"""pymdp on NumPy (pymdp.legacy), many agents in threads or in processes, for scenarios/freeagentics.py.

The pools are there, and their agents made, before the time starts: what a thread or a process costs to start does not count.
"""
from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"     # the products are tiny

import numpy as np
from pymdp.legacy import utils
from pymdp.legacy.agent import Agent

from models import CASES
from serve import serve

CASE = "grid5x5_H1"
MOST_THREADS = 32                       # as many as FreeAgentics' pool has at most


def make_agent() -> Agent:
    model = CASES[CASE]()
    arrays = {name: utils.to_obj_array(np.squeeze(model[name][0])) for name in "ABCD"}
    return Agent(**arrays, policy_len=model["policy_len"])


def step(agent: Agent) -> None:
    """It sees its own cell, as it believes it to be."""
    agent.infer_states([int(np.argmax(agent.qs[0]))])
    agent.infer_policies()
    agent.sample_action()


def steps_for(agents: list[Agent], seconds: float) -> int:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for agent in agents:
            step(agent)
        done += len(agents)
    return done


def threads(agents: int, seconds: float) -> float:
    """Steps a second: rounds in which a pool steps every agent once."""
    team = [make_agent() for _ in range(agents)]
    with ThreadPoolExecutor(min(agents, MOST_THREADS)) as pool:
        list(pool.map(step, team))
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            done += len(list(pool.map(step, team)))
        return done / (time.perf_counter() - start)


def live(share: int, barrier: Any, seconds: float, done: Any) -> None:
    team = [make_agent() for _ in range(share)]
    steps_for(team, 0)
    barrier.wait()
    done.put(steps_for(team, seconds))


def processes(agents: int, seconds: float) -> float:
    """Steps a second: a process for each core, or fewer for fewer agents, each with its share of them."""
    count = min(agents, len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("fork")
    barrier, done = context.Barrier(count), context.Queue()
    team = [context.Process(target=live, args=(len(range(i, agents, count)), barrier, seconds, done)) for i in range(count)]
    for process in team:
        process.start()
    total = sum(done.get() for _ in team)
    for process in team:
        process.join()
    return total / seconds


serve(threads=threads, processes=processes)

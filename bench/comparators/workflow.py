"""Workflow steps in DBOS, for scenarios/durable.py.

One workflow of many steps, so that what a workflow costs by itself does not count. A step computes nothing: it returns a belief
and an action, which DBOS records; its configuration is the default, without its web server.
"""
from __future__ import annotations

import time
from typing import Any

from dbos import DBOS

from serve import serve

RESULT = {"action": [1], "belief": [0.04] * 25}


@DBOS.step()
def step(outcome: int) -> dict[str, Any]:
    return RESULT


@DBOS.workflow()
def workflow(steps: int) -> int:
    for i in range(steps):
        step(i % 25)
    return steps


def prepare(url: str) -> None:
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "WARNING"})
    DBOS.launch()
    workflow(10)


def run(steps: int) -> float:
    """Steps a second."""
    start = time.perf_counter()
    workflow(steps)
    return steps / (time.perf_counter() - start)


serve(prepare=prepare, run=run)

"""The fifteen cases, for scenarios that measure steps: kernel, kernel_alone, run_many, app_tier.

Both sides have one core, the same one, and take turns on it. Ours is bench/kernel/time_step: the extension's kernel without a
server, on a spec made from the arrays that pymdp gets (comparators/models.py). It computes in double precision and pymdp in
single, as their users run them. What it observes is drawn beforehand, as it is for pymdp. A step is one from observation to
action and next prior on both sides; nothing is stored on either.
"""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
from typing import Any

from common import Bench, Goal
from comparator import HERE, PYTHON, Comparator, last_core

STRUCTURED = ["grid5x5_H1", "grid5x5_H2", "grid5x5_H3", "grid5x5_noisy_H3", "grid10x10_H2", "tmaze_H2", "tmaze_H3", "tmaze_H5",
              "cue_H2", "cue_H4"]
SMALL = ["rand3_H1", "rand3_H2", "rand_big_H1", "rand4f_H2"]
LARGE = ["large256_H2"]
CASES = STRUCTURED + SMALL + LARGE
TIME_STEP = HERE.parent / "build" / "bench" / "time_step"


def specs() -> pathlib.Path:
    """Writes the specs and builds the program; returns the folder of CASE.json."""
    folder = HERE.parent / "build" / "bench" / "specs"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([PYTHON, "-B", HERE / "comparators" / "models.py", folder], check=True)
    # it is built as it stands, whatever is set for the server's extension
    subprocess.run(["make", "-s", "-C", HERE / "kernel"], check=True, env={**os.environ, "MAKEFLAGS": ""})
    return folder


def time_step(spec: pathlib.Path, agents: int, seconds: float) -> dict[str, Any]:
    """us, of a step of one agent, all of them in one block; instructions, the set that the kernel chose."""
    command = ["taskset", "-c", str(last_core()), TIME_STEP, spec, str(agents), str(agents), str(seconds)]
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"time_step failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def measure(bench: Bench, peer: Comparator, case: str, spec: pathlib.Path, agents: int, name: str, goal: Goal | None) -> None:
    seconds = bench.size(4, 1) / 10
    instructions = time_step(spec, agents, 0.01)["instructions"]
    ours, theirs = bench.take_turns(bench.size(3, 1), [
        lambda: time_step(spec, agents, seconds)["us"],
        lambda: peer.ask("measure", case=case, seconds=seconds)])
    peer.ask("forget", case=case)
    bench.report(case, ours, "us/step", "lower", name, theirs, goal, f"our instructions: {instructions}")

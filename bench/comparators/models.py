"""The fifteen cases as plain arrays, and as specs: both sides get the very same numbers.

The structured ones come from pymdp's own environments; the random ones are drawn with a fixed seed. A model is a dict of the
arguments of pymdp's Agent: A[m] is [outcome, states of its factors ...], B[f] [next state, states of its factors ..., action],
C[m] [outcome], D[f] [state], all float64.

    python models.py FOLDER      writes FOLDER/CASE.json for each case, a spec for fa_model_create
"""
from __future__ import annotations

import json
import pathlib
import sys
from typing import Any, Callable, Sequence

import numpy as np

Model = dict[str, Any]


def model(A: Sequence[Any], B: Sequence[Any], C: Sequence[Any], D: Sequence[Any], A_dependencies: Sequence[Sequence[int]],
          B_dependencies: Sequence[Sequence[int]], policy_len: int) -> Model:
    arrays = {name: [np.asarray(x, dtype=np.float64) for x in xs] for name, xs in zip("ABCD", (A, B, C, D))}
    return {**arrays, "A_dependencies": [list(d) for d in A_dependencies], "B_dependencies": [list(d) for d in B_dependencies],
            "policy_len": policy_len}


def grid(size: int, plan_steps: int, noise: float = 0.0) -> Model:
    """Seeks the far corner. With noise, a wrong cell is seen with that probability, and the start is unknown."""
    from pymdp.envs.grid_world import GridWorld

    env = GridWorld(shape=(size, size), include_stay=True, initial_position=(0, 0), success_prob=1.0)
    cells = size * size
    A, D = list(env.A), list(env.D)
    if noise:
        A = [(1 - noise) * np.asarray(a, dtype=np.float64) + noise / cells for a in A]
        D = [np.full(cells, 1 / cells)]
    return model(A, env.B, [2.0 * (np.arange(cells) == cells - 1)], D, [[0]], [[0]], plan_steps)


def tmaze(plan_steps: int) -> Model:
    from pymdp.envs.tmaze import TMaze

    env = TMaze(cue_validity=0.95, reward_probability=1.0, punishment_probability=1.0)
    return model(env.A, env.B, [np.zeros(5), [0, 2, -3], np.zeros(3)], env.D, env.A_dependencies, env.B_dependencies, plan_steps)


def cue(plan_steps: int) -> Model:
    """Two cues, one leading to the other; where they are and what they say is unknown at first."""
    from pymdp.envs.cue_chaining import CueChainingEnv

    env = CueChainingEnv()
    return model(env.A, env.B, [np.zeros(35), np.zeros(5), np.zeros(3), [0, 3, -6]], [env.D[0], np.full(4, 1 / 4), np.full(2, 1 / 2)],
                 env.A_dependencies, env.B_dependencies, plan_steps)


def drawn(seed: int, states: Sequence[int], outcomes: Sequence[int], actions: Sequence[int], plan_steps: int,
          parents: Sequence[Sequence[int]] | None = None) -> Model:
    """Dense columns from a Dirichlet distribution; each modality sees all factors unless parents says otherwise."""
    generator = np.random.default_rng(seed)
    parents = parents or [list(range(len(states)))] * len(outcomes)

    def columns(rows: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.moveaxis(generator.dirichlet(np.full(rows, 0.7), size=shape), -1, 0)

    A = [columns(n, tuple(states[f] for f in of)) for n, of in zip(outcomes, parents)]
    B = [columns(n, (n, u)) for n, u in zip(states, actions)]
    C = [generator.normal(size=n) for n in outcomes]
    D = [generator.dirichlet(np.ones(n)) for n in states]
    return model(A, B, C, D, parents, [[f] for f in range(len(states))], plan_steps)


CASES: dict[str, Callable[[], Model]] = {
    "grid5x5_H1": lambda: grid(5, 1),
    "grid5x5_H2": lambda: grid(5, 2),
    "grid5x5_H3": lambda: grid(5, 3),
    "grid5x5_noisy_H3": lambda: grid(5, 3, noise=0.1),
    "grid10x10_H2": lambda: grid(10, 2, noise=0.1),
    "tmaze_H2": lambda: tmaze(2),
    "tmaze_H3": lambda: tmaze(3),
    "tmaze_H5": lambda: tmaze(5),
    "cue_H2": lambda: cue(2),
    "cue_H4": lambda: cue(4),
    "rand3_H1": lambda: drawn(1, (4, 3), (5, 4, 3), (3, 2), 1),
    "rand3_H2": lambda: drawn(1, (4, 3), (5, 4, 3), (3, 2), 2),
    "rand_big_H1": lambda: drawn(2, (10, 8), (10, 8, 6), (4, 3), 1),
    "rand4f_H2": lambda: drawn(3, (6, 5, 4, 3), (8, 6, 5), (3, 2, 1, 1), 2, [[0, 1], [1, 2], [2, 3]]),
    "large256_H2": lambda: drawn(4, (256,), (256,), (4,), 2),
}


def spec(arguments: Model) -> dict[str, Any]:
    """What fa_model_create takes: the same names, lists in place of arrays."""
    return {name: [x.tolist() for x in value] if name in ("A", "B", "C", "D") else value for name, value in arguments.items()}


if __name__ == "__main__":
    for name, make in CASES.items():
        pathlib.Path(sys.argv[1], f"{name}.json").write_text(json.dumps(spec(make())), encoding="utf-8")

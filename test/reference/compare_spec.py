#!/usr/bin/env python3
"""Compares the ready specs with the environments of pymdp 1.0.4 they stand for: A, B, D, dependencies and order of actions.

    scripts/private-cluster sh -c 'psql -qc "CREATE EXTENSION fa_agents" && venv/bin/python test/reference/compare_spec.py'

The virtual environment is that of make_golden.py. Specs come from psql, which connects as its environment says. Prints a line
for each comparison and fails at the first difference above 1e-12.
"""
import os
os.environ["JAX_ENABLE_X64"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import json
import subprocess

import networkx
import numpy as np
from pymdp.envs.cue_chaining import CueChainingEnv
from pymdp.envs.graph_worlds import GraphEnv, generate_connected_clusters
from pymdp.envs.grid_world import GridWorld
from pymdp.envs.tmaze import TMaze


def spec(call):
    """The spec that an SQL expression gives."""
    return json.loads(subprocess.run(["psql", "-AtqX", "-v", "ON_ERROR_STOP=1", "-c", "SELECT " + call],
                                     check=True, capture_output=True, text=True).stdout)


def labels(item, key):
    return item[key] if isinstance(item[key], list) else [str(i) for i in range(item[key])]


def dense(value, names=None):
    """Any of the forms that an array may have, as numpy's."""
    if isinstance(value, list):
        return np.array(value, dtype=float)
    if "next" in value:
        to = np.array(value["next"])
        out = np.zeros((len(to),) + to.shape)
        for index in np.ndindex(to.shape):
            out[(to[index],) + index] = 1.0
        return out
    if "shape" in value:
        out = np.full(value["shape"], float(value.get("default", 0)))
        for *index, x in value["entries"]:
            out[tuple(index)] = x
        return out
    return np.array([float(value.get(name, 0)) for name in names])


def compare(call, env, C, actions, **changed):
    """changed: arrays that are ours by intention, in place of the environment's."""
    s = spec(call)
    factors = [f["name"] for f in s["factors"]]
    want = {"A": env.A, "B": env.B, "D": env.D, "C": C} | changed
    names = {"A": None, "B": None, "D": [labels(f, "states") for f in s["factors"]],
             "C": [labels(m, "outcomes") for m in s["modalities"]]}
    for key in "ABCD":
        assert len(s[key]) == len(want[key]), (call, key)
        for i, (ours, theirs) in enumerate(zip(s[key], want[key])):
            ours, theirs = dense(ours, names[key] and names[key][i]), np.asarray(theirs, dtype=float)
            assert ours.shape == theirs.shape, (call, key, i, ours.shape, theirs.shape)
            off = np.abs(ours - theirs).max()
            assert off <= 1e-12, (call, key, i, off)
    deps = [[factors.index(p) for p in m["depends_on"]] for m in s["modalities"]]
    assert deps == [list(d) for d in env.A_dependencies], (call, deps)
    assert [[f] for f in range(len(factors))] == [list(d) for d in env.B_dependencies], call
    controls = {c["name"]: labels(c, "actions") for c in s["controls"]}
    assert [f["controlled_by"] for f in s["factors"]] == [[c["name"]] for c in s["controls"]], call
    assert [len(c) for c in controls.values()] == [np.shape(b)[-1] for b in env.B], call
    assert list(controls.values())[0] == actions, (call, controls)
    print("equal:", call)


def compare_grids():
    names = ["UP", "RIGHT", "DOWN", "LEFT", "STAY"]
    for width, height, walls, start, stay, success, noise in [
            (5, 5, [], 0, True, 1.0, 0.0), (3, 3, [], None, True, 1.0, 0.0), (7, 4, [8, 9, 17], 3, False, 1.0, 0.0),
            (4, 6, [5, 9], 23, True, 0.8, 0.0), (5, 5, [6, 12, 12], None, True, 0.7, 0.1), (1, 1, [], None, False, 0.0, 0.0),
            (2, 3, [], None, True, 0.0, 1.0), (30, 30, [31], 0, True, 1.0, 0.05)]:
        n = width * height
        known = start if start is not None else 0 if noise == 0 else None
        env = GridWorld(shape=(height, width), walls=[divmod(w, width) for w in walls], initial_position=known,
                        include_stay=stay, success_prob=success)
        C = np.zeros(n)
        C[n - 1] = 2
        A = (1 - noise) * np.asarray(env.A[0]) + noise / n
        call = f"fa_spec_grid({width}, {height}, noise => {noise}, success => {success}, stay => {stay}"
        if walls: call += f", walls => '{{{','.join(map(str, walls))}}}'"
        if start is not None: call += f", start => {start}"
        compare(call + ")", env, [C], names[:4 + stay], A=[A])


def compare_tmazes():
    places = ["centre", "left", "right", "cue", "middle"]
    C = [np.zeros(5), np.array([0, 2, -3]), np.zeros(3)]
    compare("fa_spec_tmaze()", TMaze(), C, places)
    for cue, reward, punish, condition, dependent in [(1, .98, .9, None, False), (.5, .7, .2, 0, False), (.9, .8, 1, 1, True)]:
        env = TMaze(cue_validity=cue, reward_probability=reward, punishment_probability=punish, reward_condition=condition,
                    dependent_outcomes=dependent)
        known = "null" if condition is None else condition
        compare(f"fa_spec_tmaze({cue}, {reward}, {punish}, reward_condition => {known}, dependent_outcomes => {dependent})",
                env, C, places)


def compare_cue_chains():
    names = ["UP", "DOWN", "LEFT", "RIGHT", "STAY"]
    C = [np.zeros(35), np.zeros(5), np.zeros(3), np.array([0, 3, -6])]
    compare("fa_spec_cue_chain()", CueChainingEnv(), C, names)
    compare("fa_spec_cue_chain(2, cue2_state => 3, reward_condition => 1)",
            CueChainingEnv(cue2_state=3, reward_condition=1), C, names)


def compare_graphs():
    clusters, _ = generate_connected_clusters(3, 2)
    lonely = networkx.Graph()
    lonely.add_nodes_from(range(4))
    lonely.add_edge(1, 2)
    for graph in (clusters, lonely):
        n = len(graph.nodes)
        edges = "{" + ",".join(f"{{{a},{b}}}" for a, b in graph.edges) + "}"
        nodes = [f"n{i}" for i in range(n)]
        C = [np.zeros(n), np.array([0, 1])]
        env = GraphEnv(graph, object_location=2, agent_location=1)
        compare(f"fa_spec_graph({n}, '{edges}', start => 1, object => 2)", env, C, nodes)
        # the agent does not know where the object is; the environment draws its place from the same range
        compare(f"fa_spec_graph({n}, '{edges}', start => 1)", env, C, nodes, D=[env.D[0], np.full(n + 1, 1 / (n + 1))])


if __name__ == "__main__":
    compare_grids()
    compare_tmazes()
    compare_cue_chains()
    compare_graphs()

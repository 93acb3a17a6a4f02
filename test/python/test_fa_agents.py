"""Tests of python/fa_agents.py.

    scripts/check python            # with a server; or, for the parts that need none:
    PYTHONPATH=python python3 -m pytest test/python

What a pymdp Agent keeps is made here without pymdp. Where pymdp can be imported, its own Agent takes the same way, and
whether the two agree is tested. The parts that need a database use the connection that the environment describes.
"""
import itertools
import json
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psycopg
import pytest

import fa_agents

os.environ.setdefault("JAX_PLATFORMS", "cpu")
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jax.numpy as jnp
        from pymdp.agent import Agent
        from pymdp.distribution import compile_model
except ImportError:
    Agent = None

needs_pymdp = pytest.mark.skipif(Agent is None, reason="pymdp is not installed")
GOLDEN = Path(__file__).parents[1] / "reference" / "golden"

EYE = np.eye(2)
SWITCH = np.stack([EYE, EYE[::-1]], axis=-1)    # B of a factor with the actions stay and switch
FIXED = EYE[..., None]


def kept(A, B, dtype=np.float32, batch=1, B_action_dependencies=None, num_controls=None, policies=None, **given):
    """The attributes of a pymdp Agent made with these arguments, as far as the client looks at them."""
    expand = lambda x: np.broadcast_to(np.asarray(x, dtype), (batch,) + np.shape(x))
    lists = lambda xs: None if xs is None else [expand(x) for x in xs]
    flat = list(B)
    if B_action_dependencies:
        flat = [np.reshape(b, np.shape(b)[:np.ndim(b) - len(c)] + (-1,)) for b, c in zip(B, B_action_dependencies)]
    sizes = num_controls or [np.shape(b)[-1] for b in flat]
    length = given.pop("policy_len", 1)
    if policies is None:
        policies = np.array(list(itertools.product(*[range(n) for n in sizes * length]))).reshape(-1, length, len(sizes))
        if B_action_dependencies:
            policies = np.stack([np.ravel_multi_index(tuple(policies[..., c] for c in mine), [sizes[c] for c in mine])
                                 if mine else 0 * policies[..., 0] for mine in B_action_dependencies], axis=-1)
    out = dict(fa_agents._SETTINGS, pA=None, pB=None, H=None, I=None, preprocess_fn=None,
               A_dependencies=[list(range(len(B)))] * len(A), B_dependencies=[[f] for f in range(len(B))],
               B_action_dependencies=B_action_dependencies or [[f] for f in range(len(B))], num_controls_multi=num_controls,
               C=lists([np.full(len(a), 1 / len(a)) for a in A]), D=lists([np.full(len(b), 1 / len(b)) for b in B]),
               E=expand(np.full(len(policies), 1 / len(policies))), policies=SimpleNamespace(policy_arr=np.asarray(policies)),
               **{k: np.full(batch, v, dtype) for k, v in fa_agents._NUMBERS.items()})
    for name, value in given.items():
        if name in ("C", "D", "H", "I", "pA", "pB"): value = lists(value)
        elif name == "E": value = expand(value)
        elif name in fa_agents._NUMBERS: value = np.full(batch, value, dtype)
        out[name] = value
    return SimpleNamespace(A=lists(A), B=lists(flat), **out)


def same(**arguments):
    """The spec of what a pymdp Agent keeps; and where there is pymdp, of its Agent, which must be the same."""
    made = fa_agents.spec(kept(**arguments))
    if Agent is not None:
        arrays = {k: [jnp.asarray(x, dtype=float) for x in v] if k in ("A", "B", "C", "D", "H", "pA", "pB") else v
                  for k, v in arguments.items() if k != "dtype"}
        if "policies" in arrays: arrays["policies"] = jnp.asarray(arrays["policies"])
        if "E" in arrays: arrays["E"] = jnp.asarray(arrays["E"])
        assert fa_agents.spec(Agent(**arrays)) == made
    json.dumps(made, allow_nan=False)
    return made


def two_factors(**more):
    return dict(A=[EYE, np.full((3, 2, 2), 1 / 3)], B=[SWITCH, FIXED], A_dependencies=[[0], [0, 1]], **more)


def test_only_what_is_not_default():
    assert same(A=[EYE], B=[SWITCH]) == {"A": [[[1, 0], [0, 1]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]]}


def test_dependencies():
    made = same(**two_factors())
    assert made["A_dependencies"] == [[0], [0, 1]]
    assert "B_dependencies" not in made and "policy_len" not in made and "C" not in made
    coupled = np.zeros((2, 2, 2, 2))
    coupled[0] = 1
    assert same(A=[EYE], B=[coupled, FIXED], A_dependencies=[[1]], B_dependencies=[[0, 1], [1]])["B_dependencies"] == [[0, 1], [1]]


def test_single_precision_becomes_what_was_meant():
    made = same(A=[np.array([[0.95, 0.1], [0.05, 0.9]])], B=[SWITCH], gamma=0.3, D=[np.array([0.2, 0.8])])
    assert made["A"] == [[[0.95, 0.1], [0.05, 0.9]]]
    assert made["gamma"] == 0.3 and made["D"] == [[0.2, 0.8]]
    exact = fa_agents.spec(kept([np.array([[1 / 3, 0], [2 / 3, 1]])], [SWITCH], dtype=np.float64))
    assert exact["A"] == [[[1 / 3, 0], [2 / 3, 1]]]


def test_vectors_and_settings():
    made = same(**two_factors(C=[np.array([0, 2]), np.zeros(3)], D=[np.array([1, 0]), np.array([.5, .5])],
                              E=np.array([.25, .75]), alpha=16.0, use_states_info_gain=False, num_iter=8,
                              action_selection="stochastic", sampling_mode="marginal"))
    assert made["C"] == [[0, 2], [0, 0, 0]] and made["D"] == [[1, 0], [.5, .5]] and made["E"] == [.25, .75]
    assert made["alpha"] == 16 and made["num_iter"] == 8 and made["use_states_info_gain"] is False
    assert made["action_selection"] == "stochastic" and made["sampling_mode"] == "marginal"
    assert not {"gamma", "inductive_threshold", "use_utility", "H", "I", "pA"} & set(made)


def test_time_dependent_preferences():
    assert same(A=[EYE], B=[SWITCH], policy_len=2, C=[np.array([[0, 1], [2, 0]])])["C"] == [[[0, 1], [2, 0]]]


def test_learning():
    made = same(A=[EYE], B=[SWITCH], pA=[2 * EYE + 0.5], pB=[np.ones((2, 2, 2))], learn_A=True, learn_B=True,
                use_param_info_gain=True)
    assert made["pA"] == [[[2.5, .5], [.5, 2.5]]] and made["pB"] == [[[[1, 1], [1, 1]], [[1, 1], [1, 1]]]]
    assert made["learn_A"] and made["learn_B"] and made["use_param_info_gain"]


def test_inductive():
    made = same(A=[EYE], B=[SWITCH], H=[np.array([0, 1])], use_inductive=True, inductive_depth=3, inductive_epsilon=0.01)
    assert made["H"] == [[0, 1]] and "I" not in made
    assert made["inductive_depth"] == 3 and made["inductive_epsilon"] == 0.01


def test_policies():
    assert same(**two_factors(policy_len=2))["policy_len"] == 2
    chosen = [[[0, 0], [1, 0]], [[1, 0], [1, 0]]]
    made = same(**two_factors(policies=chosen, policy_len=2))
    assert made["policies"] == chosen and "policy_len" not in made
    # as many as there are, but in another order
    assert same(A=[EYE], B=[SWITCH], policies=[[[1]], [[0]]])["policies"] == [[[1]], [[0]]]


def several_controls():
    """Factor 0 driven by two controls of 2 and 3 actions, factor 1 by the second alone, factor 2 by none."""
    rng = np.random.default_rng(1)
    cond = lambda *shape: np.moveaxis(rng.dirichlet(np.ones(2), size=shape), -1, 0)
    return dict(A=[EYE, EYE], B=[cond(2, 2, 3), cond(2, 3), cond(2)], A_dependencies=[[0], [1]],
                B_action_dependencies=[[0, 1], [1], []], num_controls=[2, 3])


def test_several_controls():
    given = several_controls()
    made = same(**given, policy_len=2)
    assert made["B_action_dependencies"] == [[0, 1], [1], []] and made["num_controls"] == [2, 3]
    assert made["policy_len"] == 2 and "policies" not in made
    assert [np.shape(b) for b in made["B"]] == [(2, 2, 2, 3), (2, 2, 3), (2, 2)]
    assert all(np.allclose(a, b, atol=1e-7) for a, b in zip(made["B"], given["B"]))


def test_policies_of_several_controls():
    agent = kept(**several_controls())
    # u = (control 0, control 1): factor 0 has the flat action 3 * u0 + u1, factor 1 has u1
    agent.policies.policy_arr = np.array([[[5, 2, 0]], [[1, 1, 0]]])
    assert fa_agents.spec(agent)["policies"] == [[[1, 2]], [[0, 1]]]
    agent.policies.policy_arr = np.array([[[5, 1, 0]]])
    with pytest.raises(ValueError, match="two actions at a time"):
        fa_agents.spec(agent)


def test_element_of_a_batch():
    agent = kept([EYE], [SWITCH], batch=3)
    agent.gamma = np.array([1, 2, 3], np.float32)
    assert "gamma" not in fa_agents.spec(agent) and fa_agents.spec(agent, batch=2)["gamma"] == 3


def test_batches_are_not_dropped():
    agent = kept([EYE], [SWITCH], batch=3)
    with pytest.raises(ValueError, match="batch of 3"):
        fa_agents.load(None, agent)
    with pytest.raises(IndexError, match="has 3 elements"):
        fa_agents.spec(agent, batch=5)


def test_what_is_no_agent():
    with pytest.raises(TypeError, match="a pymdp Agent of version 1.0 is needed, not list"):
        fa_agents.load(None, [EYE])
    assert fa_agents._json({"A": [np.eye(2, dtype=np.float32)], "gamma": np.float32(0.1)}) == '{"A": [[[1, 0], [0, 1]]], "gamma": 0.1}'
    with pytest.raises(TypeError, match="cannot hold set"):
        fa_agents._json({"A": {1}})


def test_large_arrays_are_sparse():
    n = 40
    B = np.zeros((n, n, 2))
    B[np.arange(n), np.arange(n), 0] = 1
    B[np.minimum(np.arange(n) + 1, n - 1), np.arange(n), 1] = 1
    made = same(A=[np.eye(n)], B=[B])
    assert made["A"][0]["shape"] == [n, n] and made["A"][0]["entries"][1] == [1, 1, 1]
    back = np.zeros(made["B"][0]["shape"])
    for *index, x in made["B"][0]["entries"]: back[tuple(index)] = x
    assert np.array_equal(back, B)


def test_preprocessing_is_left_out():
    agent = kept([EYE], [SWITCH])
    agent.preprocess_fn = lambda x: x
    with pytest.warns(UserWarning, match="preprocess_fn"):
        fa_agents.spec(agent)


CONFIG = {
    "observations": {"light": {"elements": ["off", "on"], "depends_on": ["lamp"]},
                     "sound": {"size": 2, "depends_on": ["lamp", "door"]}},
    "controls": {"hand": {"elements": ["rest", "press"]}, "foot": {"size": 3}},
    "states": {"lamp": {"elements": ["dark", "bright"], "depends_on": ["lamp"], "controlled_by": ["hand", "foot"]},
               "door": {"size": 2, "depends_on": ["door", "lamp"], "controlled_by": ["foot"]}},
}
NAMED = {
    "factors": [{"name": "lamp", "states": ["dark", "bright"], "depends_on": ["lamp"], "controlled_by": ["hand", "foot"]},
                {"name": "door", "states": 2, "depends_on": ["door", "lamp"], "controlled_by": ["foot"]}],
    "controls": [{"name": "hand", "actions": ["rest", "press"]}, {"name": "foot", "actions": 3}],
    "modalities": [{"name": "light", "outcomes": ["off", "on"], "depends_on": ["lamp"]},
                   {"name": "sound", "outcomes": 2, "depends_on": ["lamp", "door"]}],
}


def distributions():
    """As compile_model makes them of CONFIG: labels by axis, the event first, then parents, then controls."""
    label = {"light": ["off", "on"], "sound": [0, 1], "hand": ["rest", "press"], "foot": [0, 1, 2],
             "lamp": ["dark", "bright"], "door": [0, 1]}
    make = lambda event, *batch: SimpleNamespace(event={event: label[event]}, batch={b: label[b] for b in batch})
    return {"A": [make("light", "lamp"), make("sound", "lamp", "door")],
            "B": [make("lamp", "lamp", "hand", "foot"), make("door", "door", "lamp", "foot")]}


def lamp_arrays():
    return dict(A=[EYE, np.full((2, 2, 2), .5)], B=[np.full((2, 2, 2, 3), .5), np.full((2, 2, 2, 3), .5)])


def test_names():
    agent = kept(**lamp_arrays(), A_dependencies=[[0], [0, 1]], B_dependencies=[[0], [1, 0]],
                 B_action_dependencies=[[0, 1], [1]], num_controls=[2, 3])
    made = fa_agents.spec(agent, names=distributions())
    assert {k: made[k] for k in NAMED} == NAMED
    assert not {"A_dependencies", "B_dependencies", "B_action_dependencies", "num_controls"} & set(made)


def test_names_of_controls_that_differ():
    """Two factors whose controls have one name, in an Agent that knows no shared controls."""
    make = lambda name: SimpleNamespace(event={name: ["a", "b"]}, batch={name: ["a", "b"], "go": ["x", "y"]})
    names = {"A": [SimpleNamespace(event={"o": [0, 1]}, batch={})], "B": [make("f"), make("g")]}
    made = fa_agents.spec(kept([EYE], [SWITCH, SWITCH], A_dependencies=[[0]]), names=names)
    assert [c["name"] for c in made["controls"]] == ["go", "go of g"]
    assert [f["controlled_by"] for f in made["factors"]] == [["go"], ["go of g"]]


@needs_pymdp
def test_names_from_pymdp():
    model = compile_model(CONFIG)
    for name, arrays in lamp_arrays().items():
        for distribution, x in zip(model[name], arrays): distribution.data = x
    agent = Agent(**{k: model[k] for k in ("A", "B", "B_action_dependencies", "num_controls")})
    made = fa_agents.spec(agent, names=model)
    assert {k: made[k] for k in NAMED} == NAMED
    assert np.shape(made["B"][0]) == (2, 2, 2, 3) and np.shape(made["B"][1]) == (2, 2, 2, 3)


def test_version_is_the_extension_s():
    control = (Path(__file__).parents[2] / "fa_agents.control").read_text()
    assert f"default_version = '{fa_agents.__version__}'" in control


# ----------------------------------------------------------------------------------------------------------- in a database

@pytest.fixture
def conn():
    """A connection to a database of its own schema; what a test does there is rolled back."""
    if "PGHOST" not in os.environ:
        pytest.skip("no database: run scripts/check python")
    with psycopg.connect(autocommit=False) as connection:
        connection.execute("CREATE SCHEMA \"Fa test\"")
        connection.execute("CREATE EXTENSION fa_agents SCHEMA \"Fa test\"")
        yield connection
        connection.rollback()


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["tmaze_h1", "tmaze_h2", "grid_h1", "cue_h1"])
def test_steps_as_pymdp(conn, name):
    """A golden sequence through the client: loaded, stepped, and its history read."""
    case = golden(name)
    agent_id = fa_agents.load(conn, case["spec"], params={"history": ["belief", "q_pi", "neg_efe"]})
    for step in case["steps"]:
        conn.execute("SELECT * FROM \"Fa test\".fa_step(%s, %s::int[], did => %s::int[])",
                     (agent_id, step["observation"], step["did"]))
    frame = fa_agents.history(conn, agent_id)
    assert list(frame.step) == list(range(1, len(case["steps"]) + 1)) and set(frame.agent_id) == {agent_id}
    assert list(frame.observation) == [s["observation"] for s in case["steps"]]
    assert list(frame.action) == [s["action"] for s in case["steps"]]
    for column in ("vfe", "belief", "q_pi", "neg_efe"):
        for got, step in zip(frame[column], case["steps"]):
            np.testing.assert_allclose(got, step[column], rtol=0, atol=1e-9)


@needs_pymdp
def test_agent_of_pymdp(conn):
    """An Agent and what load() made of it take the same steps, as near as single precision lets the Agent."""
    given = several_controls()
    arrays = {k: [jnp.asarray(x) for x in given.pop(k)] for k in ("A", "B")}
    agent = Agent(**arrays, **given, C=[jnp.array([0., 1.]), jnp.array([1., 0.])], policy_len=2, gamma=2.0)
    agent_id = fa_agents.load(conn, agent, params={"history": ["belief", "q_pi"]})
    prior, got = agent.D, []
    for observation in ([0, 1], [1, 1], [1, 0]):
        belief = agent.infer_states([jnp.array([[o]]) for o in observation], prior)
        q_pi, _ = agent.infer_policies(belief)
        action, = conn.execute("SELECT action FROM \"Fa test\".fa_step(%s, %s)", (agent_id, observation)).fetchone()
        prior = agent.update_empirical_prior(agent.encode_multi_actions(jnp.array([action])), belief)
        got.append((np.concatenate([np.asarray(b)[0, -1] for b in belief]), np.asarray(q_pi[0])))
    for (belief, q_pi), row in zip(got, fa_agents.history(conn, agent_id).itertuples()):
        np.testing.assert_allclose(row.belief, belief, atol=1e-5)
        np.testing.assert_allclose(row.q_pi, q_pi, atol=1e-5)


def test_load_names_and_versions(conn):
    made = fa_agents.spec(kept(**two_factors()))
    first, second = fa_agents.load(conn, made), fa_agents.load(conn, made)
    assert first != second
    count = "SELECT count(*), count(DISTINCT name) FROM \"Fa test\".fa_model"
    assert conn.execute(count).fetchone() == (1, 1)
    # under a name of its own, every loading is a version
    fa_agents.load(conn, kept(**two_factors()), name="two", agent_name="mine", params={"gamma": 2})
    fa_agents.load(conn, kept(**two_factors(gamma=4.0)), name="two")
    assert conn.execute(count).fetchone() == (3, 2)


def test_history_of_none(conn):
    frame = fa_agents.history(conn, [])
    assert len(frame) == 0 and list(frame.columns)[:3] == ["agent_id", "step", "trial"]


def test_without_the_extension():
    if "PGHOST" not in os.environ:
        pytest.skip("no database: run scripts/check python")
    with psycopg.connect() as connection, pytest.raises(RuntimeError, match="CREATE EXTENSION"):
        fa_agents.history(connection, [1])

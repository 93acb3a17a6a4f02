"""A small client of fa_agents, the PostgreSQL extension in which an agent is a row and a step is a transaction.

It brings an agent of pymdp (its Agent class, version 1.0) into the database and a history out of it:

    import psycopg
    import fa_agents

    with psycopg.connect("dbname=lab") as conn:
        agent_id = fa_agents.load(conn, agent, name="maze", params={"history": ["belief", "q_pi"]})
        conn.execute("SELECT * FROM fa_step(%s, %s)", (agent_id, [0, 0, 0]))
        frame = fa_agents.history(conn, [agent_id])

All the rest is SQL. Nothing here commits: that is for the caller, as with any psycopg connection. pymdp itself is never
imported, and pandas only by history().
"""
from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from psycopg.rows import tuple_row

if TYPE_CHECKING:
    import pandas

__all__ = ["spec", "load", "history"]
__version__ = "0.1.0"

Spec = dict[str, Any]

# Arguments of the Agent that are kept as they were given, with their defaults.
_SETTINGS = {
    "use_utility": True, "use_states_info_gain": True, "use_param_info_gain": False, "use_inductive": False,
    "inductive_depth": 1, "categorical_obs": False, "action_selection": "deterministic", "sampling_mode": "full",
    "inference_algo": "fpi", "inference_horizon": None, "num_iter": 16, "learning_mode": "online",
    "learn_A": False, "learn_B": False, "learn_C": False, "learn_D": False, "learn_E": False,
}
# Arguments that the Agent repeats for each element of its batch.
_NUMBERS = {"gamma": 1.0, "alpha": 1.0, "inductive_threshold": 0.1, "inductive_epsilon": 1e-3}


# ------------------------------------------------------------------------------------------------------ a spec from an Agent

def spec(agent: Any, names: Mapping[str, Any] | None = None, batch: int = 0) -> Spec:
    """The spec of a pymdp Agent: a dict for json.dumps and fa_model_create.

    Holds what differs from the Agent's defaults. Of an Agent with a batch axis it is the element `batch`. Numbers that the
    Agent holds in single precision (JAX's default) become the shortest decimals that stand for them: 0.95 and not
    0.949999988079071. Large arrays that are mostly zeros are written sparse.

    The Agent forgets the labels of the Distributions that it was made from. `names` gives them back: the model that
    compile_model returned, or any mapping with the lists of Distributions "A" and "B".
    """
    if not hasattr(agent, "preprocess_fn"):
        raise TypeError(f"a pymdp Agent of version 1.0 is needed, not {type(agent).__name__}")
    if not 0 <= batch < len(agent.A[0]):
        raise IndexError(f"the agent's batch has {len(agent.A[0])} elements; there is none with the number {batch}")
    if agent.preprocess_fn is not None:
        warnings.warn("preprocess_fn is not part of a model: observations reach the database preprocessed", stacklevel=2)
    controls = _Controls(agent)
    out: Spec = dict(_named(agent, controls, names) if names else _indexed(agent, controls))
    out["A"] = [_array(a[batch]) for a in agent.A]
    out["B"] = [_array(controls.spread(f, b[batch])) for f, b in enumerate(agent.B)]
    out.update(_vectors(agent, batch))
    if agent.pA is not None:
        out["pA"] = [None if a is None else _array(a[batch]) for a in agent.pA]
    if agent.pB is not None:
        out["pB"] = [None if b is None else _array(controls.spread(f, b[batch])) for f, b in enumerate(agent.pB)]
    out.update(controls.policies(agent))
    for name, default in _NUMBERS.items():
        value = _double(np.asarray(getattr(agent, name))[batch])
        if value != default:
            out[name] = _plain(value.item())
    for name, default in _SETTINGS.items():
        value = getattr(agent, name)
        if value != default:
            out[name] = value
    return out


class _Controls:
    """What an action has an entry for: the Agent has one flat action for each factor, the spec one for each control.

    Without B_action_dependencies they are the same. With them the Agent flattens the actions of all controls of a factor to
    one, the last listed control fastest, and that is undone here.
    """

    def __init__(self, agent: Any) -> None:
        self.flat = [int(np.shape(b)[-1]) for b in agent.B]
        self.own = [[f] for f in range(len(self.flat))]
        self.of_factor = [list(c) for c in agent.B_action_dependencies or self.own]
        self.simple = self.of_factor == self.own
        self.sizes = self.flat if self.simple else [int(n) for n in agent.num_controls_multi]

    def spread(self, f: int, b: Any) -> np.ndarray:
        """B or pB of one factor with an axis for each of its controls."""
        b = np.asarray(b)
        return b if self.simple else b.reshape(b.shape[:-1] + tuple(self.sizes[c] for c in self.of_factor[f]))

    def flatten(self, actions: np.ndarray) -> np.ndarray:
        """Actions by control [..., control] to actions by factor [..., factor]."""
        if self.simple:
            return actions
        columns = []
        for mine in self.of_factor:
            index = np.zeros(actions.shape[:-1], dtype=int)
            for c in mine:
                index = index * self.sizes[c] + actions[..., c]
            columns.append(index)
        return np.stack(columns, axis=-1)

    def unflatten(self, flat: np.ndarray) -> np.ndarray:
        """Actions by factor to actions by control; 0 for a control that moves nothing."""
        if self.simple:
            return flat
        out = np.zeros(flat.shape[:-1] + (len(self.sizes),), dtype=int)
        for f, mine in enumerate(self.of_factor):
            if mine:
                for c, index in zip(mine, np.unravel_index(flat[..., f], [self.sizes[c] for c in mine])):
                    out[..., c] = index
        if not np.array_equal(self.flatten(out), flat):
            raise ValueError("the agent's policies give one control two actions at a time")
        return out

    def policies(self, agent: Any) -> Spec:
        """policy_len where the policies are all there are, else the policies."""
        given = np.asarray(agent.policies.policy_arr, dtype=int)
        length = given.shape[1]
        all_steps = list(itertools.product(*(range(n) for n in self.sizes)))
        if len(given) == len(all_steps) ** length:
            everything = np.array(list(itertools.product(all_steps, repeat=length)))
            if np.array_equal(self.flatten(everything.reshape(len(given), length, -1)), given):
                return {} if length == 1 else {"policy_len": length}
        return {"policies": self.unflatten(given).tolist()}


def _indexed(agent: Any, controls: _Controls) -> Spec:
    """The dependencies by index, where they are not the default."""
    factors = list(range(len(agent.B)))
    out: Spec = {}
    depends = [[int(f) for f in parents] for parents in agent.A_dependencies]
    if depends != [factors] * len(depends):
        out["A_dependencies"] = depends
    depends = [[int(f) for f in parents] for parents in agent.B_dependencies]
    if depends != controls.own:
        out["B_dependencies"] = depends
    if not controls.simple:
        out["B_action_dependencies"] = controls.of_factor
        out["num_controls"] = controls.sizes
    return out


def _named(agent: Any, controls: _Controls, names: Mapping[str, Any]) -> Spec:
    """The dependencies by name, from the Distributions that the Agent was made from."""
    states = [_axis(b) for b in names["B"]]
    outcomes = [_axis(a) for a in names["A"]]
    factor_names = [name for name, _ in states]
    actions = _control_axes(agent, controls, names["B"])
    return {
        "factors": [{"name": name, "states": labels, "depends_on": [factor_names[d] for d in agent.B_dependencies[f]],
                     "controlled_by": [actions[c][0] for c in controls.of_factor[f]]}
                    for f, (name, labels) in enumerate(states)],
        "controls": [{"name": name, "actions": labels} for name, labels in actions],
        "modalities": [{"name": name, "outcomes": labels, "depends_on": [factor_names[d] for d in agent.A_dependencies[m]]}
                       for m, (name, labels) in enumerate(outcomes)],
    }


def _axis(distribution: Any) -> tuple[str, list[str] | int]:
    (name, labels), = distribution.event.items()
    return name, _labels(labels)


def _labels(labels: Sequence[Any]) -> list[str] | int:
    """Labels that are only numbers are no labels: compile_model makes them where a size was given."""
    return list(labels) if all(isinstance(label, str) for label in labels) else len(labels)


def _control_axes(agent: Any, controls: _Controls, B: Iterable[Any]) -> list[tuple[str, list[str] | int]]:
    """Name and labels of each control. A Distribution lists the parents first and then the controls."""
    axes: list[tuple[str, list[str] | int] | None] = [None] * len(controls.sizes)
    for f, distribution in enumerate(B):
        own = list(distribution.batch.items())[len(agent.B_dependencies[f]):]
        for c, (name, labels) in zip(controls.of_factor[f], own):
            if axes[c] is None:
                # without B_action_dependencies even controls of one name are different ones
                taken = any(axis is not None and axis[0] == name for axis in axes)
                axes[c] = (f"{name} of {_axis(distribution)[0]}" if taken else name, _labels(labels))
    return [axis or (f"control {c}", controls.sizes[c]) for c, axis in enumerate(axes)]


def _vectors(agent: Any, batch: int) -> Spec:
    """C, D, E, H and I, where they are not the Agent's defaults."""
    out: Spec = {}
    for name in ("C", "D"):
        arrays = [np.asarray(x)[batch] for x in getattr(agent, name)]
        if not all(_uniform(x) for x in arrays):
            out[name] = [_array(x) for x in arrays]
    if not _uniform(habit := np.asarray(agent.E)[batch]):
        out["E"] = _array(habit)
    if agent.H is not None:
        out["H"] = [_array(h[batch]) for h in agent.H]
    elif agent.use_inductive and agent.I is not None:
        out["I"] = [_array(i[batch]) for i in agent.I]
    return out


def _uniform(x: np.ndarray) -> bool:
    return x.ndim == 1 and bool((x == x.dtype.type(1.0 / len(x))).all())


def _double(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(str).astype(float) if x.dtype == np.float32 else x.astype(float)


def _array(x: Any) -> Any:
    """Nested lists, or the sparse form where it is much shorter."""
    x = _double(x)
    filled = np.argwhere(x)
    if x.size > 1000 and 4 * len(filled) < x.size:
        return {"shape": list(x.shape), "entries": [[*map(int, i), _plain(x[tuple(i)].item())] for i in filled]}
    return _plain(x.tolist())


def _plain(x: Any) -> Any:
    """Whole numbers without the fraction: most are 0 and 1."""
    if isinstance(x, list):
        return [_plain(y) for y in x]
    return int(x) if isinstance(x, float) and x.is_integer() else x


# ----------------------------------------------------------------------------------------------------------- in the database

def load(conn: psycopg.Connection, agent: Any, name: str | None = None, params: Mapping[str, Any] | None = None,
         agent_name: str | None = None, names: Mapping[str, Any] | None = None) -> int:
    """Creates a model and an agent of it; returns the agent's id.

    `agent` is a pymdp Agent, or a spec. The model is called `name`; if there is a model of that name already, this is a new
    version of it. Without a name it is called after its contents, and loading the same again uses the same model.
    `params` are those of fa_agent_create ({"seed": 7, "gamma": 4, "history": ["belief"]}), and `names` is as for spec().
    An Agent with a batch of several is refused: its elements may differ, so load spec(agent, batch=i) for each.
    """
    if not isinstance(agent, Mapping) and hasattr(agent, "A") and len(agent.A[0]) > 1:
        raise ValueError(f"the agent is a batch of {len(agent.A[0])}: load spec(agent, batch=i) for each element")
    body = _json(agent if isinstance(agent, Mapping) else spec(agent, names))
    schema = _schema(conn)
    if name is None:
        name = "pymdp-" + hashlib.sha256(body.encode()).hexdigest()[:16]
        create = not _rows(conn, f"SELECT 1 FROM {schema}.fa_model WHERE name = %s", name)
    else:
        create = True
    if create:
        _rows(conn, f"SELECT {schema}.fa_model_create(%s, %s::jsonb)", name, body)
    created = _rows(conn, f"SELECT {schema}.fa_agent_create(%s, %s, %s::jsonb)", name, agent_name, _json(params or {}))
    return created[0][0]


def _json(value: Mapping[str, Any]) -> str:
    """Also of NumPy's and JAX's arrays and numbers; not of NaN, which JSON does not have."""
    def plain(x: Any) -> Any:
        if hasattr(x, "__array__"):
            return _plain(_double(x).tolist())
        raise TypeError(f"a spec or params cannot hold {type(x).__name__}")

    return json.dumps(dict(value), allow_nan=False, default=plain)


_HISTORY = ("agent_id", "step", "trial", "at", "observation", "action", "vfe", "belief", "q_pi", "neg_efe")


def history(conn: psycopg.Connection, ids: int | Iterable[int]) -> pandas.DataFrame:
    """What was kept of some agents' steps, a row a step, in order of agent and step.

    There are rows for agents created with the param "history"; belief, q_pi and neg_efe are None where it does not name them.
    """
    import pandas

    ids = [ids] if isinstance(ids, int) else [int(i) for i in ids]
    rows = _rows(conn, f"SELECT {', '.join(_HISTORY)} FROM {_schema(conn)}.fa_history"
                       " WHERE agent_id = ANY (%s) ORDER BY agent_id, step", ids)
    return pandas.DataFrame(rows, columns=list(_HISTORY))


def _schema(conn: psycopg.Connection) -> str:
    """The schema that the extension was created in, quoted: it need not be in the search path."""
    found = _rows(conn, "SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension e"
                        " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'fa_agents'")
    if not found:
        raise RuntimeError("this database does not have the extension: CREATE EXTENSION fa_agents")
    return found[0][0]


def _rows(conn: psycopg.Connection, query: str, *args: Any) -> list[tuple[Any, ...]]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, args).fetchall()

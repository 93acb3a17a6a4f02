#!/usr/bin/env python3
"""Golden data for fa_agents, made by pymdp 1.0.4 itself (JAX in float64).

    python3 -m venv venv && venv/bin/pip install inferactively-pymdp==1.0.4 scipy
    venv/bin/python make_golden.py [NAME ...]      # no name: all cases

Each case is one file golden/NAME.json (README.md describes it). Every number comes from the methods of pymdp's Agent, called
one by one; `rollout` is not used, because it hides the order of a step and cannot run a given list of actions. Where the
Agent has a defect or cannot express what the spec can, the number comes from pymdp's own functions below the Agent, by the
sound convention; such places are marked SOUND here and listed in README.md.
"""
import os
os.environ["JAX_ENABLE_X64"] = "1"  # pymdp's default is float32, which holds 7 digits; the data must hold 15
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import itertools
import json
import sys
import warnings

warnings.filterwarnings("ignore")
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import nn
from pymdp import control, learning
from pymdp.agent import Agent
from pymdp.maths import log_stable

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "golden")
TIE = 1e-9  # relative width of a tie, as in the extension


# ---------------------------------------------------------------------------------------------------------------- the agent

class Golden:
    """One agent: the spec in the extension's format, and pymdp's Agent made from it."""

    def __init__(self, spec):
        self.spec = spec
        s = spec
        self.F, self.M = len(s["B"]), len(s["A"])
        self.bdeps = s.get("B_dependencies") or [[f] for f in range(self.F)]
        self.adeps = s.get("A_dependencies") or [list(range(self.F)) for _ in range(self.M)]
        self.acts = s.get("B_action_dependencies")
        self.bshape = [np.shape(b) for b in s["B"]]
        self.nobs = [np.shape(a)[0] for a in s["A"]]
        self.states = [b[0] for b in self.bshape]
        if self.acts is None:
            self.nctl = [b[-1] for b in self.bshape]
        else:
            self.nctl = list(s["num_controls"])
        self.H = len(s["policies"][0]) if "policies" in s else s.get("policy_len", 1)
        if "policies" in s:
            self.policies = np.asarray(s["policies"])
        else:
            flat = list(itertools.product(*[range(n) for n in self.nctl * self.H]))
            self.policies = np.array(flat).reshape(len(flat), self.H, len(self.nctl))
        self.lrA, self.lrB = s.get("lr_pA", 1.0), s.get("lr_pB", 1.0)
        # An entry that is None (not learned, no gain) cannot be given to the Agent's constructor.
        self.noA = [m for m, a in enumerate(s.get("pA", [])) if a is None]
        self.noB = [f for f, b in enumerate(s.get("pB", [])) if b is None]
        self.split = bool(self.noA or self.noB)
        self.agent = self._build()

    def _build(self):
        s = self.spec
        arr = lambda x: jnp.asarray(np.asarray(x, dtype=np.float64))
        k = {n: s[n] for n in ("policy_len", "gamma", "alpha", "use_utility", "use_states_info_gain", "use_param_info_gain",
                               "use_inductive", "inductive_depth", "inductive_threshold", "inductive_epsilon", "sampling_mode",
                               "action_selection", "learn_A", "learn_B", "num_iter") if n in s}
        k["A"], k["B"] = [arr(a) for a in s["A"]], [arr(b) for b in s["B"]]
        if "C" in s:  # fewer rows than the plan: the last is repeated (JAX does the same by clamping the index, but nothing says so)
            k["C"] = []
            for c in map(np.asarray, s["C"]):
                if c.ndim == 2 and len(c) < self.H:
                    c = np.concatenate([c, np.repeat(c[-1:], self.H - len(c), 0)])
                k["C"].append(arr(c))
        if "D" in s: k["D"] = [arr(d) for d in s["D"]]
        if "E" in s: k["E"] = arr(s["E"])
        if "H" in s: k["H"] = [arr(h) for h in s["H"]]
        if "I" in s: k["I"] = [arr(i)[None] for i in s["I"]]  # the Agent wants the batch axis here, and only here
        fill = lambda p, like: [arr(np.ones(np.shape(l)) if x is None else x) for x, l in zip(p, like)]
        if "pA" in s: k["pA"] = fill(s["pA"], s["A"])
        if "pB" in s: k["pB"] = fill(s["pB"], s["B"])
        if self.split: k["use_param_info_gain"] = False  # SOUND: the gain is added below, without the placeholders
        if self.acts is not None and "policies" not in s:
            k["B_action_dependencies"], k["num_controls"] = self.acts, self.nctl
        elif self.acts is not None:
            # SOUND: the Agent does not flatten the action axes when policies are given, so they are given flat
            for name in ("B", "pB"):
                if name in k: k[name] = [b.reshape(b.shape[:1 + len(d)] + (-1,)) for b, d in zip(k[name], self.bdeps)]
            k["policies"] = jnp.asarray([[self.flat(u) for u in p] for p in self.policies])
        elif "policies" in s:
            k["policies"] = jnp.asarray(self.policies)
        return Agent(A_dependencies=self.adeps, B_dependencies=self.bdeps, **k)

    def flat(self, u):
        """The flat action of each factor for one action per control; the last listed control is fastest."""
        if self.acts is None:
            return [int(x) for x in u]
        out = []
        for ctl in self.acts:
            i = 0
            for c in ctl:
                i = i * self.nctl[c] + int(u[c])
            out.append(i)
        return out

    # -- one step of the Agent. jit only saves time: the functions inside are the Agent's.
    def step(self, obs, prior):
        q, info = _infer_states(self.agent, [jnp.array([[o]]) for o in obs], prior)
        q_pi, g = _infer_policies(self.agent, q)
        if self.split and self.spec.get("use_param_info_gain"):
            g = g + self._gain(q)
            q_pi = nn.softmax(self.agent.gamma[:, None] * g + log_stable(self.agent.E), axis=-1)
        return q, float(np.squeeze(info["vfe"])), np.asarray(q_pi[0]), np.asarray(g[0])

    def _gain(self, q):
        """SOUND: parameter gains of the non-null entries of pA and pB, by pymdp's functions on the lists without the others."""
        a = self.agent
        ms = [m for m in range(self.M) if m not in self.noA] if "pA" in self.spec else []
        fs = [f for f in range(self.F) if f not in self.noB] if "pB" in self.spec else []
        A, B = [x[0] for x in a.A], [x[0] for x in a.B]
        out = []
        for p in self.policies:
            qs, g = [x[0, -1] for x in q], 0.0
            for u in p:
                u = self.flat(u)
                nxt = control.compute_expected_state(qs, B, u, self.bdeps)
                if ms:
                    qo = control.compute_expected_obs(nxt, [A[m] for m in ms], [self.adeps[m] for m in ms])
                    g -= control.calc_negative_pA_info_gain([a.pA[m][0] for m in ms], qo, nxt, [self.adeps[m] for m in ms])
                if fs:
                    g -= control.calc_negative_pB_info_gain([a.pB[f][0] for f in fs], [nxt[f] for f in fs], qs,
                                                            [self.bdeps[f] for f in fs], [u[f] for f in fs])
                qs = nxt
            out.append(float(g))
        return jnp.asarray(out)[None]

    def prior(self, did, q_prev):
        if did is None:
            return self.agent.D
        a = jnp.array([did])
        if self.acts is not None and "policies" not in self.spec:
            a = self.agent.encode_multi_actions(a)
        else:
            a = jnp.array([self.flat(did)])
        return self.agent.update_empirical_prior(a, q_prev)

    def learn(self, q_prev, q, obs, did):
        """As update_parameters_online of pymdp's rollout does it for fpi: -1 stands for "no action yet"."""
        if not (self.spec.get("learn_A") or self.spec.get("learn_B")):
            return
        a = self.agent
        flat = [-1] * self.F if did is None else self.flat(did)
        if q_prev is None: q_prev = [d[:, None, :] for d in a.D]  # masked by the action -1
        act, beliefs_B = jnp.array([flat]), None
        if a.learn_B:
            act = act[:, None, :]
            beliefs_B = [jnp.concatenate([x, y], axis=1) for x, y in zip(q_prev, q)]
        o = [jnp.array([[x]]) for x in obs]
        each = isinstance(self.lrA, list) or isinstance(self.lrB, list)
        if not each:
            new = _learn(a, q, o, act, beliefs_B, self.lrA, self.lrB)
        else:
            # SOUND: one rate per modality or factor; the Agent has one for all, so it is called for each and the entry is taken
            new = a
            for m in range(self.M):
                if a.learn_A:
                    x = _learn(a, q, o, act, beliefs_B, self.lrA[m] if isinstance(self.lrA, list) else self.lrA, 1.0)
                    new = eqx.tree_at(lambda n: (n.A[m], n.pA[m]), new, (x.A[m], x.pA[m]))
            for f in range(self.F):
                if a.learn_B:
                    x = _learn(a, q, o, act, beliefs_B, 1.0, self.lrB[f] if isinstance(self.lrB, list) else self.lrB)
                    new = eqx.tree_at(lambda n: (n.B[f], n.pB[f]), new, (x.B[f], x.pB[f]))
        for m in self.noA: new = eqx.tree_at(lambda n: (n.A[m], n.pA[m]), new, (a.A[m], a.pA[m]))
        for f in self.noB: new = eqx.tree_at(lambda n: (n.B[f], n.pB[f]), new, (a.B[f], a.pB[f]))
        self.agent = new

    def choose(self, q_pi):
        """The tie rule: the lowest index whose value is within 1e-9 (relative) of the best."""
        if self.spec.get("sampling_mode", "full") == "full":
            return [int(x) for x in self.policies[first_best(q_pi), 0]]
        # SOUND with several controls per factor: marginals are of controls (pymdp's are of its flat actions)
        marg = control.get_marginals(jnp.asarray(q_pi), jnp.asarray(self.policies), self.nctl)
        return [first_best(np.asarray(m)) for m in marg]

    def check_action(self, q_pi, chosen):
        """Where nothing ties, the Agent's own sample_action must choose the same."""
        raw = self.agent.sample_action(jnp.asarray(q_pi)[None])
        if self.acts is not None and self.spec.get("sampling_mode", "full") != "full":
            return
        return [int(x) for x in np.asarray(raw)[0]] == self.flat(chosen)


_infer_states = eqx.filter_jit(lambda a, o, p: a.infer_states(o, p, return_info=True))
_infer_policies = eqx.filter_jit(lambda a, q: a.infer_policies(q))
_learn = eqx.filter_jit(lambda a, q, o, u, qb, la, lb: a.infer_parameters(q, o, u, beliefs_B=qb, lr_pA=la, lr_pB=lb))


def first_best(v):
    best = v.max()
    near = [float(1 - x / best) for x in v]
    # A value near the border of a tie would make the chosen action depend on rounding: refuse to write such data.
    assert not any(TIE / 5 < x < TIE * 5 for x in near), "a value at the border of a tie"
    return next(i for i, x in enumerate(near) if x <= TIE)


# ---------------------------------------------------------------------------------------------------------------- sequences

def draw(rng, p):
    return int(rng.choice(len(p), p=np.asarray(p) / np.sum(p)))


def run(name, spec, steps=8, seed=0, true=None, acts=None, wander=0.0, obs=None, world=None):
    """Runs one case and writes it.

    true: the true start state (drawn from D without it). acts: for each step the action to execute after it (None: the agent's
    own). wander: probability that a random action is executed instead of the agent's. obs: a function (step, drawn
    observation, rng) that may replace the observation. world: another (A, B) than the agent's, for the cases that learn.
    """
    rng = np.random.default_rng(seed)
    g = Golden(spec)
    A, B = ([np.asarray(x, float) for x in xs] for xs in (world or (spec["A"], spec["B"])))
    D = [np.asarray(d) for d in spec["D"]] if "D" in spec else [np.full(n, 1 / n) for n in g.states]
    s = list(true) if true is not None else [draw(rng, d) for d in D]
    did, q_prev, out, ties = None, None, [], 0
    for t in range(steps):
        if did is not None:
            s = [draw(rng, B[f][(slice(None),) + tuple(s[d] for d in g.bdeps[f])
                                + (tuple(did[c] for c in g.acts[f]) if g.acts is not None else (did[f],))])
                 for f in range(g.F)]
        o = [draw(rng, A[m][(slice(None),) + tuple(s[d] for d in g.adeps[m])]) for m in range(g.M)]
        if obs is not None: o = [int(x) for x in obs(t, o, rng)]
        prior = g.prior(did, q_prev)
        q, vfe, q_pi, G = g.step(o, prior)
        if spec.get("use_inductive"):
            # the inductive term asks for the most probable state: it must not hang on a rounding
            for x in q: assert first_best(np.asarray(x[0, -1])) == int(np.argmax(x[0, -1])), "a tie in the inductive term"
        g.learn(q_prev, q, o, did)
        chosen = g.choose(q_pi)
        ties += g.check_action(q_pi, chosen) is False
        out.append({"observation": o, "did": did, "belief": [x for f in q for x in np.asarray(f[0, -1]).tolist()],
                    "vfe": vfe, "q_pi": q_pi.tolist(), "neg_efe": G.tolist(), "action": chosen})
        q_prev = q
        did = chosen
        if acts is not None and t < len(acts) and acts[t] is not None: did = [int(x) for x in acts[t]]
        elif rng.random() < wander: did = [int(rng.integers(n)) for n in g.nctl]
    doc = {"name": name, "spec": plain(spec), "steps": out}
    if spec.get("learn_A"):
        doc["pA"] = [None if m in g.noA else np.asarray(x[0]).tolist() for m, x in enumerate(g.agent.pA)]
        doc["A"] = [np.asarray(x[0]).tolist() for x in g.agent.A]
    if spec.get("learn_B"):
        # in the shape of the spec: one axis for each control
        doc["pB"] = [None if f in g.noB else np.asarray(x[0]).reshape(g.bshape[f]).tolist() for f, x in enumerate(g.agent.pB)]
        doc["B"] = [np.asarray(x[0]).reshape(g.bshape[f]).tolist() for f, x in enumerate(g.agent.B)]
    for k in ("pA", "A", "pB", "B"):
        if k in doc: doc["final_" + k] = shorten(doc.pop(k))
    path = os.path.join(OUT, name + ".json")
    with open(path, "w") as fh:
        fh.write(json.dumps(doc, separators=(",", ":"), allow_nan=False) + "\n")
    moved = sum(a["did"] is not None and a["did"] != b["action"] for b, a in zip(out, out[1:]))
    print(f"{name:28s} {steps} steps, {len(g.policies)} policies, {os.path.getsize(path) / 1000:.0f} kB, "
          f"{moved} other actions executed, {ties} ties broken otherwise than by pymdp's argmax", flush=True)


def shorten(x):
    """Whole numbers without '.0': the arrays are mostly zeros and ones."""
    if isinstance(x, (list, tuple)): return [shorten(y) for y in x]
    if isinstance(x, np.ndarray): return shorten(x.tolist())
    if isinstance(x, (float, np.floating)):
        x = float(x)
        return int(x) if x == int(x) else x
    return x


def plain(spec):
    return {k: shorten(v) for k, v in spec.items()}


# ---------------------------------------------------------------------------------------------------------------- models

def arrays(xs):
    return [np.asarray(x, dtype=np.float64) for x in xs]


def deps(env):
    return dict(A_dependencies=[list(d) for d in env.A_dependencies], B_dependencies=[list(d) for d in env.B_dependencies])


def strip(spec):
    """Leaves out what is the default, so that the defaults are tested too."""
    F = len(spec["B"])
    if spec.get("A_dependencies") == [list(range(F))] * len(spec["A"]): del spec["A_dependencies"]
    if spec.get("B_dependencies") == [[f] for f in range(F)]: del spec["B_dependencies"]
    if spec.get("policy_len") == 1: del spec["policy_len"]
    return spec


def tmaze(H, **more):
    from pymdp.envs.tmaze import TMaze
    e = TMaze(cue_validity=0.95)
    return strip(dict(A=arrays(e.A), B=arrays(e.B), C=[np.zeros(5), np.array([0., 2., -3.]), np.zeros(3)], D=arrays(e.D),
                      **deps(e), policy_len=H, **more))


def cue(H, **more):
    from pymdp.envs.cue_chaining import CueChainingEnv
    e = CueChainingEnv()
    return strip(dict(A=arrays(e.A), B=arrays(e.B), C=[np.zeros(35), np.zeros(5), np.zeros(3), np.array([0., 3., -6.])],
                      D=arrays(e.D), **deps(e), policy_len=H, **more))


def grid(rows, cols, H, noise=0.0, success=1.0, walls=None, start=None, stay=True, goal=None, C=2.0, goals=None, **more):
    from pymdp.envs.grid_world import GridWorld
    e = GridWorld(shape=(rows, cols), walls=walls, initial_position=start, include_stay=stay, success_prob=success)
    A = [(1 - noise) * a + noise / a.shape[0] for a in arrays(e.A)]
    c = np.zeros(rows * cols)
    c[rows * cols - 1 if goal is None else goal] = C
    if goals is not None: more["H"] = goals  # H is the plan's length above
    return strip(dict(A=A, B=arrays(e.B), C=[c], D=arrays(e.D), **deps(e), policy_len=H, **more))


def graph(H, **more):
    import networkx
    from pymdp.envs.graph_worlds import GraphEnv, generate_connected_clusters
    g, _ = generate_connected_clusters(cluster_size=3, connections=2)
    e = GraphEnv(g, object_location=4, agent_location=0)
    D = arrays(e.D)
    D[1] = np.full(8, 1 / 8)  # the agent does not know where the object is
    return strip(dict(A=arrays(e.A), B=arrays(e.B), C=[np.zeros(7), np.array([0., 1.])], D=D, **deps(e), policy_len=H, **more))


def rand(seed, S, O, U, adeps=None, bdeps=None, H=1, conc=0.7, scale=1.0, acts=None, nctl=None, **more):
    r = np.random.default_rng(seed)
    F, M = len(S), len(O)
    adeps = adeps or [list(range(F)) for _ in range(M)]
    bdeps = bdeps or [[f] for f in range(F)]
    cond = lambda n, shape: np.moveaxis(r.dirichlet(np.full(n, conc), size=shape), -1, 0)
    A = [cond(O[m], tuple(S[f] for f in adeps[m])) for m in range(M)]
    u = [(U[f],) for f in range(F)] if acts is None else [tuple(nctl[c] for c in a) for a in acts]
    B = [cond(S[f], tuple(S[g] for g in bdeps[f]) + u[f]) for f in range(F)]
    out = dict(A=A, B=B, C=[r.normal(size=o) * scale for o in O], D=[r.dirichlet(np.ones(s)) for s in S],
               A_dependencies=adeps, B_dependencies=bdeps, policy_len=H)
    if acts is not None: out.update(B_action_dependencies=acts, num_controls=list(nctl))
    if "goals" in more: out["H"] = more.pop("goals")  # H is the plan's length above
    out.update(more)
    return strip(out)


def knapsack(values=(0.6, 0.9, 1.1, 1.6, 0.3), **more):
    """Five items, each in or out by its own control, and one factor driven by all controls: is the sack too heavy?

    With these values two sacks are equally good."""
    weights, capacity = [2, 3, 4, 5, 1], 8
    item = np.zeros((2, 2, 2))
    for s in range(2):
        for u in range(2):
            item[u, s, u], item[1 - u, s, u] = 0.95, 0.05
    sack = np.zeros((2, 2) + (2,) * 5)
    for u in itertools.product(range(2), repeat=5):
        over = sum(w for w, x in zip(weights, u) if x) > capacity
        for s in range(2):
            p = 0.98 if over else 0.01 + 0.2 * s  # a sack that was too heavy may still be
            sack[(1, s) + u], sack[(0, s) + u] = p, 1 - p
    A = [np.array([[.9, .1], [.1, .9]])] * 5 + [np.array([[.97, .03], [.03, .97]])]
    C = [np.array([0., v]) for v in values] + [np.array([0., -5.])]
    return dict(A=A, B=[item] * 5 + [sack], C=C, D=[np.array([1., 0.])] * 6, A_dependencies=[[f] for f in range(6)],
                B_action_dependencies=[[0], [1], [2], [3], [4], [0, 1, 2, 3, 4]], num_controls=[2] * 5, **more)


def dense256():
    """256 states, all transitions possible; rounded so that the file stays small and the columns still sum to 1."""
    r = np.random.default_rng(256)

    def cond(shape):
        x = np.rint(np.moveaxis(r.dirichlet(np.full(256, 0.3), size=shape), -1, 0) * 1e4)
        np.put_along_axis(x, x.argmax(0, keepdims=True), x.max(0, keepdims=True) + 1e4 - x.sum(0, keepdims=True), 0)
        return x / 1e4
    return dict(A=[cond((256,))], B=[cond((256, 4))], C=[np.rint(r.normal(size=256) * 100) / 100])


def ones_like(xs, v=1.0):
    return [np.full(np.shape(x), v) for x in xs]


def dirichlet(seed, A, scale=2.0):
    """Counts that are not the model times a number, so that the order of learning and planning shows."""
    r = np.random.default_rng(seed)
    return [np.asarray(a) * scale + r.uniform(0.05, 1.0, size=np.shape(a)) for a in A]


# ---------------------------------------------------------------------------------------------------------------- cases

CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


def named(name):
    def deco(fn):
        CASES[name] = fn
        return fn
    return deco


# T-maze locations: 0 centre, 1 left, 2 right, 3 cue, 4 middle; an action goes to that location if it is adjacent.
@case
def tmaze_h1():
    run("tmaze_h1", tmaze(1), true=[0, 1], acts=[[x, 0] for x in (3, 0, 4, 1, 4, 2, 2, 2)])


@case
def tmaze_h2():
    run("tmaze_h2", tmaze(2), true=[0, 0], seed=3, acts=[None, [3, 0], [0, 0], [4, 0], None, None, [4, 0], [2, 0]], steps=9)


@case
def tmaze_h3():
    run("tmaze_h3", tmaze(3, gamma=4.0), true=[0, 1], seed=1)


@case
def tmaze_h3_wrong_cue():
    """The cue misleads: the agent is shocked and corrects itself."""
    run("tmaze_h3_wrong_cue", tmaze(3), true=[0, 0], acts=[[3, 0], [3, 0], [0, 0], [4, 0], [2, 0], None, None, None], steps=9,
        obs=lambda t, o, r: [o[0], o[1], 2 if o[0] == 3 else o[2]])


@case
def cue_h1():
    run("cue_h1", cue(1), true=[0, 2, 1], acts=[[x, 0, 0] for x in (1, 1, 3, 3, 3, 1, 3, 3)], steps=9)


@case
def cue_h2():
    # down to cue 1, then to the cue that it names (location (3,3)), then on
    run("cue_h2", cue(2), true=[0, 2, 0], acts=[[x, 0, 0] for x in (1, 1, 1, 3, 3, 3)] + [None] * 4, steps=10)


@case
def cue_h3():
    run("cue_h3", cue(3), true=[0, 0, 1], steps=8)


@case
def cue_h4():
    run("cue_h4", cue(4), true=[0, 2, 0], steps=6)


WALLS = [(1, 1), (2, 1), (3, 1), (1, 3), (2, 3)]


@case
def grid_h1():
    run("grid_h1", grid(5, 5, 1, start=(0, 0)), wander=0.5, seed=1)


@case
def grid_h2():
    run("grid_h2", grid(5, 5, 2, start=(3, 3)), wander=0.2, seed=2)


@case
def grid_h3():
    run("grid_h3", grid(5, 5, 3, start=(2, 2)), wander=0.3, seed=3)


@case
def grid_noisy_h2():
    # moves that are certain and a wrong cell now and then: views share numbers, and each row of A has a background
    run("grid_noisy_h2", grid(5, 5, 2, noise=0.1, start=(0, 0)), wander=0.3, seed=7)


@case
def grid_walls_h1():
    run("grid_walls_h1", grid(5, 5, 1, noise=0.3, success=0.8, walls=WALLS), wander=0.3, seed=40)


@case
def grid_walls_h2():
    run("grid_walls_h2", grid(5, 5, 2, noise=0.25, success=0.8, walls=WALLS), wander=0.3, seed=5)


@case
def grid_walls_h3():
    run("grid_walls_h3", grid(5, 5, 3, noise=0.1, success=0.9, walls=WALLS), wander=0.3, seed=60)


@case
def graph_h1():
    run("graph_h1", graph(1), true=[0, 4], acts=[[3, 0], [5, 0], [3, 0], [4, 0]] + [None] * 4)


@case
def graph_h2():
    run("graph_h2", graph(2), true=[0, 5], acts=[None, None, None, [6, 0]] + [None] * 5)


@case
def rand2():
    run("rand2", rand(1, (4, 3), (5, 4, 3), (3, 2)), wander=0.3, seed=7)


@case
def rand2_h2():
    run("rand2_h2", rand(1, (4, 3), (5, 4, 3), (3, 2), H=2, gamma=2.0), wander=0.3, seed=9)


@case
def rand2_big():
    run("rand2_big", rand(2, (10, 8), (10, 8, 6), (4, 3)), wander=0.3, seed=8)


@case
def rand3_partial():
    run("rand3_partial", rand(5, (4, 3, 5), (4, 6, 3, 2), (2, 3, 1), [[0], [2, 1], [0, 1, 2], [1]], H=2), wander=0.3, seed=10)


@case
def rand4_partial():
    run("rand4_partial", rand(3, (6, 5, 4, 3), (8, 6, 5), (3, 2, 1, 1), [[0, 1], [1, 2], [2, 3]], H=2), wander=0.3, seed=11)


@case
def coupled2():
    run("coupled2", rand(6, (4, 3), (5, 3), (3, 2), bdeps=[[0, 1], [0, 1]], H=2), wander=0.3, seed=12)


@case
def coupled3():
    # the factor itself is not the first parent; the listed order is the axis order
    run("coupled3", rand(7, (3, 4, 2), (4, 3, 5), (2, 1, 3), [[1, 0], [2], [0, 2]], [[1, 0], [1], [2, 0, 1]], H=2), wander=0.3, seed=13)


@named("knapsack")
def knapsack_case():
    run("knapsack", knapsack(), wander=0.3, seed=14)


@case
def knapsack_gamma():
    run("knapsack_gamma", knapsack((0.6, 0.95, 1.1, 1.6, 0.3), gamma=3.0, use_states_info_gain=False), wander=0.5, seed=15)


@case
def controls_shared():
    """Controls of sizes 2 and 3: factor 0 by both, factor 1 by the second."""
    run("controls_shared", rand(8, (3, 4), (4, 5), None, acts=[[0, 1], [1]], nctl=[2, 3], H=2), wander=0.4, seed=16)


@case
def controls_reversed():
    """The listed order of the controls is the order of the axes; the last factor has no control and no action axis."""
    run("controls_reversed", rand(9, (3, 4, 2), (4, 5, 3), None, acts=[[0], [1, 0], []], nctl=[2, 3], H=2), wander=0.4, seed=17)


@case
def controls_marginal():
    run("controls_marginal", rand(10, (3, 3), (4, 3), None, acts=[[1, 0], [0]], nctl=[2, 3], H=1, sampling_mode="marginal", gamma=1.5),
        wander=0.4, seed=18)


@case
def controls_policies():
    run("controls_policies", rand(11, (3, 3), (4, 3), None, acts=[[0, 1], [1, 0]], nctl=[2, 3],
                                  policies=[[[0, 2], [1, 1]], [[1, 0], [0, 0]], [[1, 2], [1, 2]], [[0, 1], [1, 0]]]), wander=0.3, seed=19)


@case
def grid_7x7_h1():
    """Without the inductive term: the goal is too far to be seen, so most policies tie."""
    run("grid_7x7_h1", grid(7, 7, 1, start=(0, 0), stay=False), wander=0.5, seed=20)


# -- the inductive term

def goal(n, *at):
    h = np.zeros(n)
    h[list(at)] = 1.0
    return h


@case
def inductive_7x7():
    run("inductive_7x7", grid(7, 7, 1, start=(0, 0), stay=False, C=0.0, use_inductive=True, goals=[goal(49, 48)], inductive_depth=14,
                              inductive_threshold=0.1), steps=13)


@case
def inductive_7x7_near():
    """Depth 7: from the start no path is known, so the term is zero until the agent has wandered closer."""
    run("inductive_7x7_near", grid(7, 7, 1, start=(2, 2), stay=False, C=0.0, use_inductive=True, goals=[goal(49, 48)], inductive_depth=7),
        acts=[[1], [2], [3], None, None, None, None, None], steps=10)


@case
def inductive_noisy():
    """Success .8, walls, STAY, three steps of plan; the default epsilon and threshold are changed."""
    run("inductive_noisy", grid(5, 5, 2, noise=0.1, success=0.8, walls=WALLS, start=(0, 0), use_inductive=True, goals=[goal(25, 24, 9)],
                                inductive_depth=12, inductive_threshold=0.3, inductive_epsilon=0.01, gamma=2.0), wander=0.2, seed=21)


@case
def inductive_one_way():
    """A world that cannot be walked backwards, where predecessors and successors differ; two goal states."""
    r = np.random.default_rng(22)
    B = np.full((6, 6, 2), 0.02)
    for s in range(6): B[(s + 1) % 6 if s != 3 else 3, s, 0] += 1.0; B[(s + 2) % 6, s, 1] += 1.0
    B /= B.sum(0)
    A = 0.9 * np.eye(6) + 0.1 * r.dirichlet(np.ones(6), size=6).T
    run("inductive_one_way", dict(A=[A], B=[B], C=[r.normal(size=6)], D=[goal(6, 0)], use_inductive=True, H=[goal(6, 3, 5)],
                                  inductive_depth=3, policy_len=2), wander=0.3, seed=22)


@case
def inductive_two_factors():
    """The second factor has no goal: its term is zero, as is that of a state from which the goal is out of reach."""
    run("inductive_two_factors", rand(23, (5, 3), (6, 4), (3, 2), H=2, conc=0.3, use_inductive=True,
                                      goals=[goal(5, 4), np.zeros(3)], inductive_depth=4, inductive_threshold=0.4), wander=0.3, seed=23)


@case
def inductive_tiny_epsilon():
    """epsilon below the log's floor, which is taken for it."""
    run("inductive_tiny_epsilon", rand(26, (5, 3), (6, 4), (3, 2), H=2, conc=0.3, use_inductive=True,
                                       goals=[goal(5, 4), np.zeros(3)], inductive_depth=4, inductive_threshold=0.4,
                                       inductive_epsilon=1e-17), wander=0.3, seed=26)


@case
def inductive_matrix():
    """I is given instead of H."""
    I = [np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1.]]), np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.]])]
    run("inductive_matrix", rand(24, (4, 3), (5, 3), (3, 2), use_inductive=True, I=I, inductive_depth=3), wander=0.3, seed=24)


# -- policies, precision, prior

@case
def marginal():
    """Sampling by marginals; a precision; a prior over policies with a zero, which is a weight of 2.2e-16 and no ban."""
    E = np.arange(1.0, 37.0)
    E[[5, 20]] = 0.0
    run("marginal", rand(25, (4, 3), (5, 4, 3), (3, 2), H=2, sampling_mode="marginal", gamma=0.7, E=E / E.sum()), wander=0.3, seed=25)


@case
def marginal_cue():
    """Marginals tie where policies do; E is not normalised, and is used so."""
    run("marginal_cue", cue(2, sampling_mode="marginal", gamma=4.0, E=1.0 + np.arange(25) % 3), true=[0, 1, 1],
        acts=[None, [1, 0, 0], [1, 0, 0]] + [None] * 5)


@case
def prior_zero():
    run("prior_zero", rand(26, (3,), (4,), (3,), E=np.array([0.0, 0.3, 0.7]), gamma=8.0), wander=0.3, seed=26)


@case
def policies_own():
    """Six policies of length 3, one of them twice; an executed action need not begin any."""
    p = [[[0, 1], [1, 1], [2, 0]], [[2, 0], [2, 0], [2, 0]], [[1, 1], [0, 0], [1, 0]], [[2, 0], [2, 0], [2, 0]],
         [[0, 0], [1, 1], [0, 1]], [[1, 0], [1, 1], [2, 1]]]
    run("policies_own", rand(27, (4, 3), (5, 4), (3, 2), policies=p), wander=0.4, seed=27)


@case
def policies_best_twice():
    """The best policy stands twice: a tie by construction, between policies 1 and 3."""
    p = [[[0], [1]], [[2], [0]], [[1], [1]], [[2], [0]], [[0], [2]]]
    spec = rand(28, (4,), (4,), (3,), policies=p, gamma=5.0)
    spec["B"][0][..., 2] = np.eye(4)[:, [3, 3, 3, 3]] * 0.9 + 0.025
    spec["C"][0] = np.array([0, 0, 0, 0.5])
    spec["A"][0] = np.eye(4) * 0.6 + 0.1
    run("policies_best_twice", spec, wander=0.3, seed=28)


@case
def utility_only():
    run("utility_only", rand(29, (4, 3), (5, 4), (3, 2), H=2, use_states_info_gain=False), wander=0.3, seed=29)


@case
def info_gain_only():
    run("info_gain_only", rand(30, (4, 3), (5, 4), (3, 2), H=2, use_utility=False), wander=0.3, seed=30)


@case
def no_terms():
    """Neither term: all policies tie and the first is chosen."""
    run("no_terms", rand(31, (3,), (4,), (3,), H=2, use_utility=False, use_states_info_gain=False), steps=6, wander=0.5, seed=31)


@case
def one_action():
    """A factor with a single action, and one in which nothing can be done at all."""
    run("one_action", rand(32, (4, 3, 2), (5, 3), (1, 2, 1), [[0, 1], [2, 1]], H=2), wander=0.3, seed=32)
    run("no_choice", rand(33, (4,), (3, 2), (1,), H=3), seed=33)


@case
def plan3():
    run("plan3", rand(34, (3, 4), (4, 3), (2, 3), H=3), wander=0.3, seed=34)


@case
def alpha():
    """alpha sharpens stochastic choices only: here it must change nothing."""
    run("alpha", rand(35, (3, 2), (4, 3), (2, 2), alpha=16.0, gamma=16.0), wander=0.5, seed=35)


@case
def iterations():
    """Another number of iterations than 16: the data shows that there is no early stop."""
    run("iterations3", rand(36, (4, 3), (5, 4), (3, 2), num_iter=3), wander=0.3, seed=36)
    run("iterations1", rand(36, (4, 3), (5, 4), (3, 2), num_iter=1), wander=0.3, seed=36)


@case
def fixed_point_swings():
    """Two factors that are seen to be equal, with opposite priors: updated at the same time they swap for ever, so every number
    depends on there being exactly 16 iterations and all factors at once."""
    A = np.zeros((2, 2, 2))
    A[0], A[1] = [[.97, .03], [.03, .97]], [[.03, .97], [.97, .03]]
    spec = rand(37, (2, 2), (2, 3), (2, 2), bdeps=[[0], [1]])
    spec["A"][0], spec["D"] = A, [np.array([.7, .3]), np.array([.2, .8])]
    stay = np.array([[.9, .1], [.1, .9]])
    spec["B"] = [np.stack([stay, stay[::-1]], -1)] * 2
    run("fixed_point_swings", spec, wander=0.3, seed=37, obs=lambda t, o, r: [t // 3 % 2, -1 if t < 6 else o[1]])


# -- preferences

@case
def preferences_time():
    """C[0] has a row for each step of the plan, C[1] is constant, C[2] has more rows than the plan."""
    spec = rand(38, (4, 3), (5, 4, 3), (3, 2), H=3)
    r = np.random.default_rng(38)
    spec["C"] = [r.normal(size=(3, 5)), r.normal(size=4), r.normal(size=(5, 3))]
    run("preferences_time", spec, wander=0.3, seed=38)


@case
def preferences_short():
    """Fewer rows than the plan: the last is repeated (the spec keeps the short form; pymdp was given the long one)."""
    spec = rand(39, (4, 3), (5, 4), (3, 2), H=3)
    r = np.random.default_rng(39)
    spec["C"] = [r.normal(size=(2, 5)), r.normal(size=(1, 4))]
    run("preferences_short", spec, wander=0.3, seed=39)


@case
def defaults():
    """A and B alone."""
    spec = rand(40, (4, 3), (5, 4), (3, 2))
    for k in "CD": del spec[k]
    run("defaults", spec, wander=0.4, seed=40)


# -- observations

@case
def missing():
    def lose(t, o, r):
        if t in (3, 6): return [-1] * len(o)
        return [-1 if r.random() < 0.4 else x for x in o]
    run("missing", rand(41, (4, 3), (5, 4, 3), (3, 2), [[0, 1], [0], [1]], H=2), steps=10, wander=0.3, seed=41, obs=lose)


@case
def missing_first():
    """Nothing is seen at the first two steps of a single-factor agent."""
    run("missing_first", rand(42, (5,), (4, 3), (3,)), wander=0.3, seed=42, obs=lambda t, o, r: [-1, -1] if t < 2 else [o[0], -1 if t % 2 else o[1]])


@case
def impossible():
    """Identity A and a certain prior, contradicted: the belief hangs on the log floor, which is part of the convention."""
    spec = grid(2, 2, 1, start=(0, 0))
    run("impossible", spec, true=[0], acts=[[1], [4], [2], [4], [0], [4], [3], [4]], obs=lambda t, o, r: [[0], [3], [3], [0], [2], [1], [0], [0]][t])


@case
def improbable():
    """A state of 1e-13 that an outcome makes the most probable one: small probabilities are not left out."""
    move = np.stack([np.eye(4), np.roll(np.eye(4), 1, 0)], -1)
    run("improbable", dict(A=[np.eye(4)], B=[move], C=[np.array([0., 1, 2, 3])], D=[np.array([1 - 1e-13, 1e-13, 0, 0])], policy_len=2),
        steps=4, true=[0], acts=[[0], [1], [0]], obs=lambda t, o, r: [[1], [1], [2], [0]][t])


@case
def impossible_two():
    """Two modalities contradict each other and the prior: the floors of several logarithms are added up."""
    spec = dict(A=[np.eye(3), np.eye(2)[:, [0, 0, 1]], np.array([[1, 1, .5], [0, 0, .5]])], B=[np.stack([np.eye(3), np.eye(3)[[1, 2, 0]]], -1)],
                C=[np.array([0., 1, 2]), np.zeros(2), np.zeros(2)], D=[np.array([1., 0, 0])])
    run("impossible_two", spec, true=[0], acts=[[0], [1], [0], [1], [1], [0], [0], [0]],
        obs=lambda t, o, r: [[0, 0, 0], [1, 1, 0], [2, 0, 1], [0, 1, 1], [0, 0, 0], [2, 1, 1], [1, 0, 1], [1, -1, -1]][t])


@case
def impossible_factors():
    """The T-maze told that it is where it is not, and rewarded in both arms."""
    run("impossible_factors", tmaze(2), true=[0, 0], acts=[[3, 0], [0, 0], [4, 0], [1, 0], [4, 0], [2, 0], [2, 0], [0, 0]],
        obs=lambda t, o, r: [[0, 0, 0], [3, 0, 1], [2, 0, 0], [4, 1, 0], [1, 1, 0], [4, 0, 2], [2, 1, 0], [2, 2, 1]][t])


# -- learning

def learner(seed, S, O, U, what, H=1, steps=10, adeps=None, bdeps=None, acts=None, nctl=None, obs=None, gain=True, true_seed=None, **more):
    """A and B of the agent are E[pA] and E[pB]; the world is another model."""
    spec = rand(seed, S, O, U, adeps, bdeps, H, acts=acts, nctl=nctl)
    other = rand(seed + 1000, S, O, U, adeps, bdeps, H, conc=0.3, acts=acts, nctl=nctl)
    for k, do in (("A", "A" in what), ("B", "B" in what)):
        if do:
            p = dirichlet(seed, spec[k])
            spec["p" + k], spec[k] = p, [x / x.sum(0) for x in p]
            spec["learn_" + k] = True
    if gain: spec["use_param_info_gain"] = True
    spec.update(more)
    return spec, (other["A"], other["B"])


def run_learner(name, *a, steps=10, obs=None, wander=0.4, **k):
    spec, world = learner(*a, **k)
    run(name, spec, steps=steps, seed=a[0], wander=wander, obs=obs, world=world)


@case
def learn_a():
    run_learner("learn_a", 50, (4, 3), (5, 4), (3, 2), "A")
    run_learner("learn_a_missing", 51, (4, 3), (5, 4), (3, 2), "A", adeps=[[0], [0, 1]], obs=lambda t, o, r: [-1, -1] if t == 0 or t == 4
                else [-1 if r.random() < .4 else x for x in o])


@case
def learn_b():
    run_learner("learn_b", 52, (4, 3), (5, 4), (3, 2), "B", H=2)
    run_learner("learn_b_coupled", 53, (3, 4), (5, 4), (3, 2), "B", bdeps=[[0, 1], [0, 1]])
    run_learner("learn_b_missing", 54, (4, 3), (5, 4), (3, 2), "B", obs=lambda t, o, r: [-1, -1] if t in (0, 4) else o)


@case
def learn_ab():
    run_learner("learn_ab", 55, (4, 3), (5, 4), (3, 2), "AB", H=2)
    run_learner("learn_ab_single", 56, (4,), (5, 3), (3,), "AB", H=2, gamma=2.0)
    run_learner("learn_ab_partial", 57, (3, 4, 2), (4, 3, 5), (2, 1, 3), "AB", adeps=[[1, 0], [2], [0, 2]], bdeps=[[1, 0], [1], [2, 0]])
    run_learner("learn_ab_no_gain", 58, (4, 3), (5, 4), (3, 2), "AB", gain=False)


@case
def learn_rates():
    run_learner("learn_rates", 59, (4, 3), (5, 4), (3, 2), "AB", lr_pA=0.5, lr_pB=2.5)
    run_learner("learn_rates_each", 60, (4, 3), (5, 4), (3, 2), "AB", lr_pA=[0.5, 2.0], lr_pB=[1.5, 0.25])


@case
def learn_model_differs():
    """A and B as given are not E[pA] and E[pB]: A becomes that at the first step, also in columns that got no count, B at the second."""
    spec, world = learner(61, (4, 3), (5, 4), (3, 2), "AB", H=2)
    fresh = rand(62, (4, 3), (5, 4), (3, 2))
    spec["A"], spec["B"] = fresh["A"], fresh["B"]
    run("learn_model_differs", spec, steps=8, seed=61, wander=0.4, world=world)


@case
def learn_some():
    """pA and pB with an entry that is null: not learned, and without a gain."""
    spec, world = learner(63, (4, 3), (5, 4, 3), (3, 2), "AB", H=2)
    spec["pA"][1], spec["pB"][0] = None, None
    run("learn_some", spec, seed=63, steps=8, wander=0.4, world=world)


@case
def learn_zeros():
    """Counts of zero: their mean is 2.2e-16, not 0, and they give no gain until they are seen."""
    spec = rand(64, (3, 2), (3, 4), (2, 1), [[0], [0, 1]])
    a0 = np.eye(3) * 5.0
    a1 = dirichlet(64, [spec["A"][1]])[0] * (np.random.default_rng(64).random((4, 3, 2)) < 0.6)
    a1[0] += 0.5
    spec["pA"] = [a0, a1]
    spec["A"] = [x / x.sum(0) for x in spec["pA"]]
    b0 = np.stack([np.eye(3), np.eye(3)[[1, 2, 0]]], -1) * 3.0
    spec["pB"] = [b0, np.eye(2)[:, :, None] * 10.0]
    spec["B"] = [x / x.sum(0) for x in spec["pB"]]
    spec.update(learn_A=True, learn_B=True, use_param_info_gain=True)
    world = rand(65, (3, 2), (3, 4), (2, 1), [[0], [0, 1]])
    run("learn_zeros", spec, steps=10, seed=64, wander=0.4, world=(world["A"], world["B"]))


@case
def learn_inductive():
    """B is learned and I follows it: a weak prior over transitions on a ring of 6 states, the goal is state 4."""
    B = np.zeros((6, 6, 3))
    for s in range(6): B[(s + 1) % 6, s, 0] = B[(s - 1) % 6, s, 1] = B[s, s, 2] = 1.0
    r = np.random.default_rng(66)
    pB = 0.1 + 0.05 * r.random((6, 6, 3))
    A = np.eye(6) * 0.94 + 0.01
    run("learn_inductive", dict(A=[A], B=[pB / pB.sum(0)], D=[goal(6, 0)], pB=[pB], learn_B=True, use_param_info_gain=True, use_inductive=True,
                                H=[goal(6, 4)], inductive_depth=4, inductive_threshold=0.35, policy_len=2, gamma=2.0),
        steps=12, seed=66, true=[0], wander=0.3, world=([A], [B]))


@case
def learn_tmaze():
    """The agent knows the maze but not what the arms and the cue mean."""
    spec = tmaze(2, learn_A=True, use_param_info_gain=True)
    known = [a * 100.0 for a in spec["A"]]
    r = np.random.default_rng(67)
    reward = known[1].copy(); reward[:, 1:3, :] = 0.5 + 0.2 * r.random((3, 2, 2))
    sign = known[2].copy(); sign[1:, 3, :] = 1.0 + 0.5 * r.random((2, 2))
    spec["pA"] = [known[0], reward, sign]
    world = (spec["A"], spec["B"])
    spec["A"] = [x / x.sum(0) for x in spec["pA"]]
    run("learn_tmaze", spec, steps=12, seed=67, true=[0, 1], wander=0.3, world=world)


@case
def learn_controls():
    """Transitions driven by several controls are learned on the flat actions; the final arrays are in the shape of the spec."""
    run_learner("learn_controls", 68, (3, 4), (4, 5), None, "AB", acts=[[0, 1], [1]], nctl=[2, 3], steps=8)


# -- parameter information gain without learning

@case
def gain_only():
    spec = rand(70, (4, 3), (5, 4), (3, 2), H=2, use_param_info_gain=True)
    spec["pA"], spec["pB"] = dirichlet(70, spec["A"], 1.0), dirichlet(71, spec["B"], 1.0)
    run("gain_only", spec, wander=0.3, seed=70)


@case
def gain_a():
    spec = rand(72, (4, 3), (5, 4), (3, 2), use_param_info_gain=True, use_utility=False, use_states_info_gain=False)
    # from 1e-6 to 1e4: the older form of W loses its digits at both ends
    spec["pA"] = [10.0 ** np.random.default_rng(72).uniform(-6, 4, size=a.shape) for a in spec["A"]]
    run("gain_a", spec, wander=0.3, seed=72)


@case
def gain_b():
    spec = rand(73, (4, 3), (5, 4), (3, 2), H=2, bdeps=[[0, 1], [1]], use_param_info_gain=True)
    spec["pB"] = [10.0 ** np.random.default_rng(73).uniform(-2, 2, size=b.shape) for b in spec["B"]]
    run("gain_b", spec, wander=0.3, seed=73)


@case
def gain_unused():
    """pA and pB are given, but use_param_info_gain is false and nothing is learned: they change nothing."""
    spec = rand(74, (4, 3), (5, 4), (3, 2))
    spec["pA"], spec["pB"] = dirichlet(74, spec["A"]), dirichlet(75, spec["B"])
    run("gain_unused", spec, steps=6, wander=0.3, seed=74)


# -- modalities that see one factor each, so that the last move of a plan can be foreseen

SEEN_ALONE = [[0], [1], [0], [1]]


@case
def foreseen():
    run("foreseen", rand(101, (4, 3), (5, 4, 3, 2), (3, 2), SEEN_ALONE, H=3), steps=5, wander=0.4, seed=101)


@case
def foreseen_gain():
    """Parameter information gain of one modality, whose factor is not foreseen."""
    spec = rand(116, (4, 3), (5, 4, 3, 2), (3, 2), SEEN_ALONE, H=2, use_param_info_gain=True)
    spec["pA"] = [None, 10.0 ** np.random.default_rng(5).uniform(-2, 2, size=spec["A"][1].shape), None, None]
    run("foreseen_gain", spec, steps=5, wander=0.4, seed=10)


@case
def foreseen_sparse():
    """24 places that an outcome tells, and dense moves between them."""
    spec = rand(127, (24,), (24,), (3,), [[0]], H=2)
    spec["A"][0] = np.eye(24)
    run("foreseen_sparse", spec, steps=4, wander=0.4, seed=21)


@case
def big256():
    run("big256", dense256(), steps=6, wander=0.5, seed=76)


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)

    failed = []
    for n in sys.argv[1:] or list(CASES):
        try:
            CASES[n]()
        except AssertionError as e:
            failed.append(n)
            print(f"{n:28s} NOT WRITTEN: {e}", flush=True)
    sys.exit(1 if failed else 0)

#!/usr/bin/env python3
"""Checks golden/*.json and analytic.json against a second implementation that shares no code with pymdp.

    python3 verify_golden.py [NAME ...]      # needs numpy and scipy only

Written from the formulas (fixed-point iteration, expected free energy, Dirichlet counts), in plain loops where that is
clearer; it reads the spec as the extension does. It fails when any number differs by more than LIMIT.
"""
import glob
import itertools
import json
import os
import sys

import numpy as np
from scipy.special import digamma

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 1e-11
EPS = 2.220446049250313e-16
TIE = 1e-9


def L(x):
    return np.log(np.maximum(x, EPS))


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def contract(T, qs, keep=()):
    """Sum of T over all axes but `keep`, weighted by one vector for each axis summed (qs in the order of the axes)."""
    qs, T = list(qs), np.asarray(T, float)
    for ax in reversed(range(T.ndim)):
        if ax not in keep:
            T = np.tensordot(T, qs.pop(), axes=([ax], [0]))
    return T


def xlogx_sum(p):
    return (p * L(p)).sum(0)


def W(a):
    a = np.maximum(a, EPS)
    a0 = a.sum(0)
    return -(np.log(a0) - np.log(a) + digamma(a + 1) - digamma(a0 + 1))


class Model:
    def __init__(self, s):
        arr = lambda xs: [None if x is None else np.asarray(x, float) for x in xs]
        self.s = s
        self.A, self.B = arr(s["A"]), arr(s["B"])
        F, M = len(self.B), len(self.A)
        self.F, self.M = F, M
        self.bd = s.get("B_dependencies", [[f] for f in range(F)])
        self.ad = s.get("A_dependencies", [list(range(F)) for _ in range(M)])
        self.S, self.O = [b.shape[0] for b in self.B], [a.shape[0] for a in self.A]
        # every factor's B gets one axis for each of its controls; an action is one number for each control
        self.ctl = s.get("B_action_dependencies", [[f] for f in range(F)])
        self.n = s.get("num_controls", [b.shape[-1] for b in self.B])
        self.pol = np.array(s["policies"]) if "policies" in s else None
        H = s.get("policy_len", 1) if self.pol is None else self.pol.shape[1]
        if self.pol is None:
            p = [list(x) for x in itertools.product(*[range(k) for k in list(self.n) * H])]
            self.pol = np.array(p).reshape(len(p), H, len(self.n))
        self.C = arr(s["C"]) if "C" in s else [np.full(o, 1 / o) for o in self.O]
        self.D = arr(s["D"]) if "D" in s else [np.full(n, 1 / n) for n in self.S]
        self.E = np.asarray(s["E"], float) if "E" in s else np.full(len(self.pol), 1 / len(self.pol))
        self.pA = arr(s["pA"]) if "pA" in s else [None] * M
        self.pB = arr(s["pB"]) if "pB" in s else [None] * F
        self.gain = s.get("use_param_info_gain", False)
        self.reach()

    def reach(self):
        """I: from which states the goal is exactly i steps away (or fewer, where a state can be kept)."""
        s = self.s
        self.I = None
        if not s.get("use_inductive"): return
        if "H" not in s:
            self.I = [np.asarray(i, float) for i in s["I"]]
            return
        self.I = []
        for b, h in zip(self.B, s["H"]):
            b = b.reshape(b.shape[0], b.shape[1], -1)
            rows = [np.asarray(h, float)]
            can = (b > s.get("inductive_threshold", 0.1)).any(-1)  # [next, now]
            for _ in range(s.get("inductive_depth", 1) - 1):
                rows.append(np.array([float((can[:, i] & (rows[-1] > 0)).any()) for i in range(len(h))]))
            self.I.append(np.array(rows))

    def Bu(self, f, u):
        return self.B[f][(Ellipsis,) + tuple(u[c] for c in self.ctl[f])]

    def predict(self, qs, u):
        return [contract(self.Bu(f, u), [qs[d] for d in self.bd[f]], keep=(0,)) for f in range(self.F)]

    def infer(self, o, prior):
        ll = [L(a[x]) if x >= 0 else np.zeros(a.shape[1:]) for a, x in zip(self.A, o)]
        u = [np.zeros(n) for n in self.S]
        for it in range(1 if self.F == 1 else self.s.get("num_iter", 16)):
            q = [softmax(x) for x in u]
            u = [L(p) for p in prior]
            for m, ds in enumerate(self.ad):
                for i, f in enumerate(ds):
                    u[f] = u[f] + contract(ll[m], [q[d] for d in ds if d != f], keep=(i,))
        q = [softmax(x) for x in u]
        vfe = sum((x * (L(x) - L(p))).sum() for x, p in zip(q, prior))
        vfe -= sum(float(contract(l, [q[d] for d in ds])) for l, ds in zip(ll, self.ad))
        return q, float(vfe)

    def efe(self, q0):
        s, out, memo = self.s, [], {}
        ent = [-xlogx_sum(a) for a in self.A]
        wA = [None if p is None else W(p) * (p > 0) for p in self.pA] if self.gain else []
        wB = [None if p is None else W(p) * (p > 0) for p in self.pB] if self.gain else []

        def one(q, u, t):
            n, g = self.predict(q, u), 0.0
            for m, a in enumerate(self.A):
                par = [n[d] for d in self.ad[m]]
                qo = contract(a, par, keep=(0,))
                if s.get("use_states_info_gain", True): g += -xlogx_sum(qo) - contract(ent[m], par)
                if s.get("use_utility", True):
                    c = self.C[m]
                    g += qo @ (c if c.ndim == 1 else c[min(t, len(c) - 1)])
                if self.gain and wA[m] is not None: g -= qo @ contract(wA[m], par, keep=(0,))
            for f in range(self.F):
                if self.gain and wB[f] is not None:
                    w = wB[f][(Ellipsis,) + tuple(u[c] for c in self.ctl[f])]
                    g -= n[f] @ contract(w, [q[d] for d in self.bd[f]], keep=(0,))
                if self.I is not None:
                    i = next(k for k, x in enumerate(q0[f]) if x >= q0[f].max() * (1 - TIE))
                    hit = np.flatnonzero(self.I[f][:, i] == 1)
                    if len(hit):
                        row = self.I[f][max(hit[0] - 1, 0)]
                        g += ((1 - row) * np.log(s.get("inductive_epsilon", 1e-3))) @ n[f]
            return n, float(g)

        for p in self.pol:  # policies share their first steps
            q, g, key = q0, 0.0, ()
            for t, u in enumerate(p):
                key += (tuple(u),)
                if key not in memo: memo[key] = one(q, u, t)
                q, d = memo[key]
                g += d
            out.append(g)
        return np.array(out)

    def choose(self, q_pi):
        best = lambda v: next(i for i, x in enumerate(v) if x >= v.max() * (1 - TIE))
        if self.s.get("sampling_mode", "full") == "full":
            return [int(x) for x in self.pol[best(q_pi), 0]]
        return [best(np.array([q_pi[self.pol[:, 0, c] == a].sum() for a in range(n)])) for c, n in enumerate(self.n)]

    def learn(self, q_prev, q, o, did):
        s = self.s
        rate = lambda k, i: s.get(k, 1.0)[i] if isinstance(s.get(k, 1.0), list) else s.get(k, 1.0)
        mean = lambda a: np.maximum(a, EPS) / np.maximum(a, EPS).sum(0)
        outer = lambda xs: np.einsum(*[y for i, x in enumerate(xs) for y in (x, [i])], list(range(len(xs))))
        if s.get("learn_A"):
            for m in range(self.M):
                if self.pA[m] is None: continue
                hot = np.zeros(self.O[m])
                if o[m] >= 0: hot[o[m]] = 1.0
                self.pA[m] = self.pA[m] + rate("lr_pA", m) * outer([hot] + [q[d] for d in self.ad[m]])
                self.A[m] = mean(self.pA[m])
        if s.get("learn_B") and did is not None:
            for f in range(self.F):
                if self.pB[f] is None: continue
                b = self.pB[f].copy()
                b[(Ellipsis,) + tuple(did[c] for c in self.ctl[f])] += rate("lr_pB", f) * outer([q[f]] + [q_prev[d] for d in self.bd[f]])
                self.pB[f], self.B[f] = b, mean(b)
            if "H" in s: self.reach()


def far(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape: return np.inf
    return float(np.max(np.abs(a - b), initial=0.0))


def check(path):
    doc = json.load(open(path))
    m = Model(doc["spec"])
    worst = dict(belief=0.0, vfe=0.0, neg_efe=0.0, q_pi=0.0, learned=0.0)
    wrong, q_prev = [], None
    for t, st in enumerate(doc["steps"]):
        did = st["did"]
        assert (did is None) == (t == 0), "only the first step has no action before it"
        prior = m.D if did is None else m.predict(q_prev, did)
        q, vfe = m.infer(st["observation"], prior)
        G = m.efe(q)
        q_pi = softmax(m.s.get("gamma", 1.0) * G + L(m.E))
        for k, v in (("belief", np.concatenate(q)), ("vfe", vfe), ("neg_efe", G), ("q_pi", q_pi)):
            worst[k] = max(worst[k], far(v, st[k]))
        m.learn(q_prev, q, st["observation"], did)
        if m.choose(q_pi) != st["action"]: wrong.append(t)
        q_prev = q
    for k, mine in (("A", m.A), ("B", m.B), ("pA", m.pA), ("pB", m.pB)):
        for x, y in zip(mine, doc.get("final_" + k, [])):
            if y is not None: worst["learned"] = max(worst["learned"], far(x, y))
    return worst, wrong


def split(m, flat):
    """One vector for each factor, from the factors' beliefs one after another."""
    return np.split(np.asarray(flat, float), np.cumsum(m.S)[:-1])


def analytic():
    """The cases of analytic.json: largest difference and the names beyond LIMIT (relative for large values of W and psi)."""
    worst, bad = 0.0, []
    for c in json.load(open(os.path.join(HERE, "analytic.json")))["cases"]:
        d, k = [], c["kind"]
        m = Model(c["spec"]) if "spec" in c else None
        if k in ("plan", "gain"):
            G = m.efe(split(m, c["belief"]))
            d.append(far(G, c["neg_efe"]))
            if "q_pi" in c: d.append(far(softmax(m.s.get("gamma", 1.0) * G + L(m.E)), c["q_pi"]))
        elif k == "filter":
            q = None
            for st in c["steps"]:
                q, vfe = m.infer(st["observation"], m.D if st["did"] is None else m.predict(q, st["did"]))
                d += [far(np.concatenate(q), st["belief"]), far(vfe, st["vfe"])]
            d.append(far(np.exp(-sum(st["vfe"] for st in c["steps"])), c["evidence"]))
        elif k == "infer":
            o = c["observation"]
            if m.s.get("categorical_obs"):
                # an expected log-likelihood is that of an agent which has seen every outcome, each with its weight
                q = [softmax(sum(w * L(m.A[0][i]) for i, w in enumerate(o[0])) + L(m.D[0]))]
            else:
                q, vfe = m.infer(o, m.D)
                if "vfe" in c: d.append(far(vfe, c["vfe"]))
            d.append(far(np.concatenate(q), c["belief"]))
        elif k == "wnorm":
            w = np.asarray(c["w"])
            d.append(float(np.max(np.abs(W(np.asarray(c["a"], float)) - w) / np.maximum(1, np.abs(w)))))
        elif k == "digamma":
            y = np.asarray(c["y"])
            d.append(float(np.max(np.abs(digamma(np.asarray(c["x"], float)) - y) / np.maximum(1, np.abs(y)))))
        elif k == "inductive":
            S = len(c["H"][0])
            x = Model({"A": [np.eye(S)], "B": c["B"], "H": c["H"], "use_inductive": True, "inductive_depth": c["depth"],
                       "inductive_threshold": c["threshold"]})
            d += [far(i, j) for i, j in zip(x.I, c["I"])]
        elif k == "choice":
            pol, q = np.asarray(c["policies"]), np.asarray(c["q_pi"])
            n = int(pol[:, 0, 0].max()) + 1
            marg = lambda v: np.array([v[pol[:, 0, 0] == a].sum() for a in range(n)])
            if "action" in c:
                i = next(i for i, x in enumerate(q) if x >= q.max() * (1 - TIE))
                d.append(far(pol[i, 0], c["action"]))
            else:
                v = q ** c["alpha"] if c["sampling_mode"] == "full" else q
                v = marg(v) if c["sampling_mode"] == "full" else marg(v) ** c["alpha"]
                d.append(far(v / v.sum(), c["probabilities"][0]))
        elif k == "constants":
            d += [far(c["floor"], EPS), far(c["log_floor"], np.log(EPS))]
        else:
            d.append(np.inf)
        worst = max(worst, max(d))
        print(f"analytic {k:10s} {c['name']:20s} {max(d):.1e}")
        if max(d) > LIMIT: bad.append(c["name"])
    return worst, bad


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(os.path.basename(p)[:-5] for p in glob.glob(os.path.join(HERE, "golden", "*.json")))
    total, bad = {}, []
    for n in names:
        worst, wrong = check(os.path.join(HERE, "golden", n + ".json"))
        for k, v in worst.items(): total[k] = max(total.get(k, 0.0), v)
        ok = max(worst.values()) <= LIMIT and not wrong
        if not ok: bad.append(n)
        print(f"{n:26s} " + "  ".join(f"{k} {v:.1e}" for k, v in worst.items()) + (f"  actions differ at {wrong}" if wrong else "")
              + ("" if ok else "  BAD"))
    print(f"{len(names)} cases; largest differences: " + ", ".join(f"{k} {v:.2e}" for k, v in total.items()))
    if not sys.argv[1:]:
        worst, more = analytic()
        bad += more
        print(f"analytic.json: largest difference {worst:.2e}")
    if bad: print("BAD: " + " ".join(bad))
    sys.exit(1 if bad else 0)

#!/usr/bin/env python3
"""Writes analytic.json: values that follow from the mathematics alone.

    python3 make_analytic.py      # needs mpmath; reads the specs of golden/tmaze_h1, tmaze_h2 and cue_h4

No pymdp here: expected values are computed with 50 digits from definitions (sums over joint states, enumerated paths, the
divergence of two Dirichlet distributions), not from the formulas of the code under test, and rounded to float64 at the end.
Where a closed form is known it is asserted.
"""
import itertools
import json
import os

from mpmath import mp, mpf, log, digamma, loggamma, exp

mp.dps = 50
HERE = os.path.dirname(os.path.abspath(__file__))
FLOOR = mpf(2) ** -52  # the log floor of the convention
CASES = []


def add(kind, name, note, **k):
    CASES.append({"kind": kind, "name": name, "note": note, **json.loads(json.dumps(k, default=float))})


def H(p):
    return -sum(x * log(x) for x in p if x > 0)


def softmax(v):
    m = max(v)
    e = [exp(x - m) for x in v]
    return [x / sum(e) for x in e]


def spec_of(golden, **more):
    s = json.load(open(os.path.join(HERE, "golden", golden + ".json")))["spec"]
    s.update(more)
    return {k: v for k, v in s.items() if v is not None}


def at(T, idx):
    for i in idx: T = T[i]
    return T


def plan(s, q0):
    """neg_efe of every policy: expected utility + mutual information of outcomes and states, from the joint over states.

    For models in which a factor depends on itself alone and has its own actions."""
    F, M = len(s["B"]), len(s["A"])
    deps = s.get("A_dependencies", [list(range(F))] * M)
    T = s.get("policy_len", 1)
    nu = [len(b[0][0]) for b in s["B"]]
    memo = {}

    def node(path):
        if path not in memo:
            before = node(path[:-1])[0] if len(path) > 1 else q0
            q = [[sum(mpf(b[i][j][u]) * p[j] for j in range(len(p)) if p[j] > 0) for i in range(len(b))]
                 for b, p, u in zip(s["B"], before, path[-1])]
            g = mpf(0)
            for m in range(M):
                A, qo, cond = s["A"][m], [mpf(0)] * len(s["A"][m]), mpf(0)
                for js in itertools.product(*[[i for i, x in enumerate(q[d]) if x > 0] for d in deps[m]]):
                    w = mpf(1)
                    for d, j in zip(deps[m], js): w *= q[d][j]
                    col = [mpf(at(a, js)) for a in A]
                    cond += w * H(col)
                    qo = [x + w * y for x, y in zip(qo, col)]
                g += H(qo) - cond + sum(x * mpf(c) for x, c in zip(qo, s["C"][m]))
            memo[path] = (q, g)
        return memo[path]

    out = []
    for flat in itertools.product(*[range(n) for n in nu * T]):
        path = tuple(tuple(flat[t * F:(t + 1) * F]) for t in range(T))
        out.append(sum(node(path[:t + 1])[1] for t in range(T)))
    return out


def near(a, b, tol=mpf(10) ** -14):
    assert abs(a - b) < tol, (a, b)


def emit_plan(name, note, s, q0, at_index=None):
    g = plan(s, [[mpf(x) for x in q] for q in q0])
    for i, v in (at_index or {}).items(): near(g[i], v)
    add("plan", name, note, spec=s, belief=[x for q in q0 for x in q], neg_efe=g, q_pi=softmax([mpf(s.get("gamma", 1)) * x for x in g]))
    return g


# -- planning

ln2 = log(2)
Hv = H([mpf("0.95"), mpf("0.05")])
start = [[1, 0, 0, 0, 0], [.5, .5]]
g = emit_plan("tmaze_h1", "TMaze from the centre, context unknown: 0 except going to the cue, which is worth ln 2 - H(0.95)",
              spec_of("tmaze_h1"), start, {0: 0, 1: 0, 2: 0, 3: ln2 - Hv, 4: 0})
emit_plan("tmaze_h2", "cue then anything: 2 (ln 2 - H(0.95)), because the belief does not learn from imagined cues; middle then an arm: ln 2 - 1/2",
          spec_of("tmaze_h2"), start, {4 * 5 + 1: ln2 - mpf(1) / 2, 4 * 5 + 2: ln2 - mpf(1) / 2, 3 * 5 + 1: 2 * (ln2 - Hv),
                                       3 * 5 + 4: 2 * (ln2 - Hv), 0: 0})
loc = [1.0] + [0.0] * 34
s = spec_of("cue_h4")
g = emit_plan("cue_h4", "cue chaining, known start, uniform over both contexts: the best plans go DOWN, DOWN to the first cue and have 6 ln 2; four tie",
              s, [loc, [.25] * 4, [.5] * 2])
best = max(g)
near(best, 6 * ln2)
ties = [i for i, x in enumerate(g) if best - x < mpf(10) ** -20]
assert len(ties) == 4 and all(i // 25 == 1 * 5 + 1 for i in ties), ties
CASES[-1]["best"] = {"neg_efe": float(best), "policies": ties}

# The T-maze of the SPM tutorials: 4 places that can all be reached, a cue that is noise elsewhere, rewards of .98.
A0 = [[[float(o == l)] * 2 for l in range(4)] for o in range(4)]
A1 = [[[0.0, 0.0] for _ in range(4)] for _ in range(3)]
A2 = [[[0.5, 0.5] for _ in range(4)] for _ in range(2)]
for c in range(2):
    A1[0][0][c] = A1[0][3][c] = 1.0
    for l in (1, 2):
        right = l == c + 1
        A1[1][l][c], A1[2][l][c] = (.98, .02) if right else (.02, .98)
    for o in range(2): A2[o][3][c] = float(o == c)
B = [[[[float(i == u) for u in range(4)] for j in range(4)] for i in range(4)], [[[1.0], [0.0]], [[0.0], [1.0]]]]
s = {"A": [A0, A1, A2], "B": B, "C": [[0.0] * 4, [0.0, 3.0, -3.0], [0.0, 0.0]], "D": [[1.0, 0, 0, 0], [.5, .5]], "gamma": 16}
arm = ln2 - H([mpf(".98"), mpf(".02")])
emit_plan("spm_tmaze_h1", "0, an arm: ln 2 - H(0.98) (the utilities 3 and -3 cancel), the cue: ln 2; gamma is 16", s, [[1, 0, 0, 0], [.5, .5]],
          {0: 0, 1: arm, 2: arm, 3: ln2})
assert abs(arm - mpf("0.5951080672802133")) < 1e-15
emit_plan("spm_tmaze_h2", "the same for two steps (16 policies)", dict(s, policy_len=2), [[1, 0, 0, 0], [.5, .5]], {3 * 4 + 3: 2 * ln2})

# -- inference

prior, A = [mpf(".55"), mpf(".45")], [[mpf(".92"), mpf(".12")], [mpf(".08"), mpf(".88")]]
Bs = [[[mpf(".85"), mpf(".20")], [mpf(".15"), mpf(".80")]], [[mpf(".30"), mpf(".65")], [mpf(".70"), mpf(".35")]]]
obs, acts = [0, 1, 1], [0, 1]


def paths(n):
    """Joint probability of every path of n+1 states with the observations so far."""
    for z in itertools.product(range(2), repeat=n + 1):
        p = prior[z[0]] * A[obs[0]][z[0]]
        for t in range(n): p *= Bs[acts[t]][z[t + 1]][z[t]] * A[obs[t + 1]][z[t + 1]]
        yield z, p


steps, seen = [], mpf(1)
for t in range(3):
    ev = sum(p for _, p in paths(t))
    p0 = sum(p for z, p in paths(t) if z[t] == 0) / ev
    steps.append({"observation": [obs[t]], "did": None if t == 0 else [acts[t - 1]], "belief": [p0, 1 - p0], "vfe": -log(ev / seen)})
    seen = ev
smooth = [sum(p for z, p in paths(2) if z[t] == 0) / seen for t in range(3)]
for x, y in zip([st["belief"][0] for st in steps] + smooth, (".9035714286", ".251798972", ".1044117101", ".7638880782", ".3743320616", ".1044117101")):
    assert abs(x - mpf(y)) < 1e-9, (x, y)


def messages(mmp):
    """Window inference for this one-factor model, 16 sweeps over all slots at once (tau = 1)."""
    fl = lambda x: log(max(x, FLOOR))
    q = [[mpf(1) / 2] * 2 for _ in range(3)]
    for _ in range(16):
        new = []
        for t in range(3):
            lam = [fl(A[obs[t]][s]) for s in range(2)]
            if t == 0: past = [fl(p) for p in prior]
            elif mmp: past = [fl(sum(Bs[acts[t - 1]][s][r] * q[t - 1][r] for r in range(2))) for s in range(2)]
            else: past = [sum(fl(Bs[acts[t - 1]][s][r]) * q[t - 1][r] for r in range(2)) for s in range(2)]
            fut = [mpf(0)] * 2
            if t < 2:
                b = Bs[acts[t]]
                if mmp:
                    norm = [max(sum(b[n]), FLOOR) for n in range(2)]
                    fut = [fl(sum(q[t + 1][n] * b[n][s] / norm[n] for n in range(2))) / 2 for s in range(2)]
                    past = [x / 2 for x in past]
                else:
                    fut = [sum(q[t + 1][n] * fl(b[n][s]) for n in range(2)) for s in range(2)]
            new.append(softmax([x + y + z for x, y, z in zip(lam, past, fut)]))
        q = new
    return [x[0] for x in q]


mmp, vmp = messages(True), messages(False)
for x, y in zip(mmp + vmp, (".836342558", ".1668306489", ".1163690134", ".8416302906", ".3548451255", ".0912144579")):
    assert abs(x - mpf(y)) < 1e-9, (x, y)
fspec = {"A": [A], "B": [[[[Bs[u][i][j] for u in range(2)] for j in range(2)] for i in range(2)]], "D": [prior]}
add("filter", "two_states", "exact filter by enumerating paths; vfe of a single factor is -ln p(o_t | earlier). smoothed (exact), mmp and vmp are P(state 0) "
    "of the whole window of three, with the window's prior D", spec=fspec, steps=steps, evidence=seen, smoothed=smooth, mmp=mmp, vmp=vmp)

a2 = [[.9, .2], [.1, .8]]
soft = softmax([sum(p * log(mpf(a2[o][s])) for o, p in enumerate((mpf(".7"), mpf(".3")))) for s in range(2)])
assert abs(soft[0] - mpf("0.605640038885")) < 1e-12
add("infer", "soft_observation", "a distribution over outcomes weighs the log-likelihoods (it is not a mixture of likelihoods)",
    spec={"A": [a2], "B": [[[[1.0], [0.0]], [[0.0], [1.0]]]], "categorical_obs": True}, observation=[[.7, .3]], belief=soft)
eye = [[1.0, 0.0], [0.0, 1.0]]
one = [[[[1.0], [0.0]], [[0.0], [1.0]]]]
add("infer", "impossible", "a certain prior against an outcome that only the other state gives: one floor on each side, so one half each",
    spec={"A": [eye], "B": one, "D": [[1.0, 0.0]]}, observation=[1], belief=[.5, .5], vfe=-log(FLOOR) - log(2))
add("infer", "impossible_twice", "two modalities against the prior: two floors to one",
    spec={"A": [eye, eye], "B": one, "D": [[1.0, 0.0]]}, observation=[1, 1], belief=softmax([2 * log(FLOOR), log(FLOOR)]))
add("infer", "missing", "nothing observed: the belief is the prior, and the free energy 0",
    spec={"A": [a2], "B": one, "D": [[.3, .7]]}, observation=[-1], belief=[.3, .7], vfe=0)
# two factors seen through one modality each: mean field is exact, and the free energy is the evidence
pr = [[.2, .8], [.5, .3, .2]]
aa = [[[.7, .1], [.3, .9]], [[.6, .2, .1], [.4, .8, .9]]]
post, ev = [], mpf(1)
for p, a in zip(pr, aa):
    j = [mpf(x) * mpf(y) for x, y in zip(p, a[1])]
    post += [x / sum(j) for x in j]
    ev *= sum(j)
add("infer", "independent", "two factors with a modality each: exact posteriors, vfe = -ln evidence",
    spec={"A": aa, "B": one + [[[[1.0], [0], [0]], [[0], [1.0], [0]], [[0], [0], [1.0]]]], "A_dependencies": [[0], [1]], "D": pr},
    observation=[1, 1], belief=post, vfe=-log(ev))

# -- parameters

def w_of(a):
    """-W is the divergence of the counts after one more outcome from the counts before: KL(Dir(a + e_i) || Dir(a))."""
    out = []
    for i in range(len(a)):
        q = [x + (k == i) for k, x in enumerate(a)]
        kl = loggamma(sum(q)) - sum(map(loggamma, q)) - loggamma(sum(a)) + sum(map(loggamma, a))
        kl += sum((x - y) * (digamma(x) - digamma(sum(q))) for x, y in zip(q, a))
        out.append(-kl)
    return out


a = [[1, 2], [3, 4]]
w = [list(r) for r in zip(*[w_of([mpf(r[c]) for r in a]) for c in range(2)])]
near(w[0][0], mpf("-0.30296102778655776"))
near(w[1][1], mpf("-0.03879844144149747"))
add("wnorm", "known", "the table of the reference", a=a, w=w)
for name, col in (("tiny", [1e-12, 1e-9, 1e-6, 1e-3]), ("mixed", [1e-10, 0.5, 3.0, 1e5]), ("large", [1e3, 1e6, 1e9]), ("two", [0.1, 0.1]),
                  ("single", [7.0])):
    mp.dps = 80  # differences of log-gamma at large arguments lose digits
    add("wnorm", name, "one column", a=[[x] for x in col], w=[[x] for x in w_of([mpf(x) for x in col])])
    mp.dps = 50
xs = [1e-12, 1e-6, 1e-3, .1, .25, .5, .75, 1, 1.0 + 1e-9, 1.25, 1.4616321449683623, 1.5, 2, 2.5, 3, 4, 5.5, 6, 7, 8, 9.99, 10, 12.5, 20, 33.3, 100, 1e3, 1e5, 1e8, 1e15]
add("digamma", "digamma", "psi(x); 1.4616321449683623 is next to its root, so compare absolutely there", x=xs, y=[digamma(mpf(x)) for x in xs])
gain = -sum(mpf(1) / 4 * x for r in w for x in r)
add("gain", "param_gain", "belief and predicted outcomes uniform: the gain is minus the mean of W over all cells of the table above",
    spec={"A": [[[.25, 2 / 6], [.75, 4 / 6]]], "B": [[[[.5], [.5]], [[.5], [.5]]]], "pA": [a], "use_param_info_gain": True, "use_utility": False,
          "use_states_info_gain": False}, belief=[.5, .5], neg_efe=None)
# outcomes predicted by A = E[pA], which are not uniform: weigh the rows by them
A1_ = [[mpf(1) / 4, mpf(1) / 3], [mpf(3) / 4, mpf(2) / 3]]
qo = [(r[0] + r[1]) / 2 for r in A1_]
CASES[-1]["neg_efe"] = [float(-sum(q * (r[0] + r[1]) / 2 for q, r in zip(qo, w)))]
CASES[-1]["note"] = "belief uniform over two states: the gain is -sum_o q(o) mean_s W(o,s), W as in the table above"

# -- inductive

def chain(p):
    """0 -> 1 -> 2, each move with probability p, else stay; 2 is absorbing; one action."""
    return [[[[1 - p], [0.0], [0.0]], [[p], [1 - p], [0.0]], [[0.0], [p], [1.0]]]]


add("inductive", "chain", "rows: the goal, then states that reach it in exactly i moves (staying is a move where it is possible)",
    B=[[[[0.0], [0.0], [0.0]], [[1.0], [0.0], [0.0]], [[0.0], [1.0], [1.0]]]], H=[[0, 0, 1]], depth=4, threshold=0.1,
    I=[[[0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]])
ring = [[[[float(i == (j + 1) % 4)] for j in range(4)] for i in range(4)]]
add("inductive", "ring", "without staying the rows are not cumulative", B=ring, H=[[0, 0, 1, 0]], depth=4, threshold=0.1,
    I=[[[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]])
add("inductive", "below", "a move of probability .5 counts at threshold .49", B=chain(.5), H=[[0, 0, 1]], depth=3, threshold=.49,
    I=[[[0, 0, 1], [0, 1, 1], [1, 1, 1]]])
add("inductive", "equal", "and not at .5: the comparison is strict", B=chain(.5), H=[[0, 0, 1]], depth=3, threshold=.5, I=[[[0, 0, 1], [0, 0, 1], [0, 0, 1]]])
add("inductive", "no_goal", "a factor without a goal: all zeros, no contribution", B=chain(.5), H=[[0, 0, 0]], depth=3, threshold=.1, I=[[[0, 0, 0]] * 3])

# -- choice

q = [mpf(x) for x in (".1", ".2", ".3", ".4")]
add("choice", "stochastic_full", "action_selection stochastic: policies are drawn in proportion to q^alpha, and the first actions added up",
    q_pi=q, policies=[[[0]], [[1]], [[1]], [[2]]], alpha=2, sampling_mode="full",
    probabilities=[[q[0] ** 2 / mpf(".3"), (q[1] ** 2 + q[2] ** 2) / mpf(".3"), q[3] ** 2 / mpf(".3")]])
m = [q[0], q[1] + q[2], q[3]]
add("choice", "stochastic_marginal", "by marginals: an action of a control is drawn in proportion to its marginal^alpha",
    q_pi=q, policies=[[[0]], [[1]], [[1]], [[2]]], alpha=2, sampling_mode="marginal", probabilities=[[x ** 2 / sum(y ** 2 for y in m) for x in m]])
add("choice", "tie", "deterministic: the lowest index within 1e-9 (relative) of the best", q_pi=[.2, .4 * (1 - 1e-12), .4, 0], policies=[[[0]], [[2]], [[1]], [[3]]],
    sampling_mode="full", action=[2])
add("choice", "no_tie", "1e-6 below the best is no tie", q_pi=[.2, .4 * (1 - 1e-6), .4, 0], policies=[[[0]], [[2]], [[1]], [[3]]], sampling_mode="full", action=[1])
add("constants", "constants", "the log floor max(x, 2^-52), and its logarithm", floor=FLOOR, log_floor=log(FLOOR))

path = os.path.join(HERE, "analytic.json")
with open(path, "w") as fh:
    fh.write('{"cases":[\n' + ",\n".join(json.dumps(c, separators=(",", ":"), allow_nan=False) for c in CASES) + "\n]}\n")
print(len(CASES), "cases,", os.path.getsize(path) // 1000, "kB")

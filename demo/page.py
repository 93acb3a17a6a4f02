"""The demo's page: one self-contained HTML file, with pictures drawn as inline SVG.

render() takes what main.py measured (its docstring has the layout) and returns the page. Nothing is fetched from anywhere, and
no number is written here: every one on the page comes from the run.
"""
from __future__ import annotations

import html
import math
import os

INK, GRID, BLUE, ORANGE, GREEN = "#1c2733", "#d8dee6", "#1f5fbf", "#d9680f", "#2b8a3e"
SERIES = [BLUE, ORANGE, GREEN]

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1c2733; background: #fff; margin: 0 }
main { max-width: 980px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 28px; margin: 8px 0 4px } h2 { font-size: 22px; margin: 44px 0 6px; padding-top: 14px; border-top: 2px solid #1c2733 }
h3 { font-size: 16px; margin: 24px 0 4px }
p { max-width: 760px; margin: 6px 0 }
.note { color: #55616e; font-size: 14px }
table { border-collapse: collapse; margin: 12px 0; font-size: 15px }
th, td { text-align: right; padding: 4px 12px; border-bottom: 1px solid #d8dee6; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
th { font-weight: 600; vertical-align: bottom; white-space: normal }
td.left, th.left { text-align: left }
tr.chosen td { background: #eef4fd }
.film { display: flex; flex-wrap: wrap; gap: 12px; margin: 10px 0 }
figure { margin: 0; border: 1px solid #d8dee6; border-radius: 6px; padding: 8px; font-size: 13px; line-height: 1.35 }
figcaption b { font-size: 14px }
code, pre { font-family: "DejaVu Sans Mono", monospace; font-size: 14px }
pre { background: #f4f6f9; padding: 10px 12px; overflow-x: auto; max-width: 736px }
svg { display: block } svg text { font-family: system-ui, "DejaVu Sans", sans-serif }
.scroll { overflow-x: auto }
"""


def text(x: object) -> str:
    return html.escape(str(x))


def shade(p: float) -> str:
    """White for 0, blue for 1. The root makes small probabilities visible."""
    p = math.sqrt(min(max(p, 0.0), 1.0))
    return "#%02x%02x%02x" % tuple(round(255 + p * (int(BLUE[i:i + 2], 16) - 255)) for i in (1, 3, 5))


def contrast(p: float) -> str:
    return "#fff" if p > 0.4 else INK


# ---------------------------------------------------------------------------------------------------------- a step as a picture

def frame(task: dict, step: dict) -> str:
    """The belief over the places after one step: the darker a cell, the more probable; a frame is where the agent truly is."""
    size, places, marks = task["cell"], task["places"], task.get("marks", {})
    belief, true = step["belief"]["location"], step["state"]["location"]
    width = (1 + max(x for x, _ in places.values())) * size
    height = (1 + max(y for _, y in places.values())) * size
    longest = max(map(len, marks.values()), default=1)
    font = size * (0.45 if longest <= 2 else 0.38 if longest <= 3 else 0.26)
    out = [f'<svg width="{width + 2}" height="{height + 2}" viewBox="-1 -1 {width + 2} {height + 2}" role="img">']
    for label, (x, y) in places.items():
        p = belief.get(label, 0.0)
        out.append(f'<rect x="{x * size}" y="{y * size}" width="{size}" height="{size}" fill="{shade(p)}" stroke="{GRID}">'
                   f'<title>{text(label)}: {p:.3f}</title></rect>')
        mark = marks.get(label)
        if mark:
            out.append(f'<text x="{(x + .5) * size}" y="{(y + .5) * size + font / 3}" font-size="{font:.0f}" text-anchor="middle"'
                       f' fill="{contrast(p)}" pointer-events="none">{text(mark)}</text>')
    x, y = places[true]
    out.append(f'<rect x="{x * size + 2}" y="{y * size + 2}" width="{size - 4}" height="{size - 4}" rx="3" fill="none"'
               f' stroke="{ORANGE}" stroke-width="4" pointer-events="none"/></svg>')
    bars = "".join(bar(title, step["belief"][factor], width) for factor, title in task["also"].items())
    return f'<figure style="width: {max(width + 2, 150)}px">{"".join(out)}{bars}{caption(step)}</figure>'


def bar(title: str, belief: dict, width: int) -> str:
    """The belief about what is not a place: one bar, a part for each state."""
    width, x, out = max(width, 150), 0.0, []
    prefix = os.path.commonprefix(list(belief))
    skip = prefix.rfind("_") + 1            # "left" for "reward_left", beside "reward_right"
    for label, p in belief.items():
        part = p * width
        out.append(f'<rect x="{x:.1f}" y="1" width="{part:.1f}" height="18" fill="{shade(p)}" stroke="{GRID}">'
                   f'<title>{text(label)}: {p:.3f}</title></rect>')
        if part > 7 * len(label[skip:]):
            out.append(f'<text x="{x + part / 2:.1f}" y="14" font-size="11" text-anchor="middle" fill="{contrast(p)}"'
                       f' pointer-events="none">{text(label[skip:])}</text>')
        x += part
    return f'<div style="margin-top: 4px">{text(title)}<svg width="{width + 1}" height="20">{"".join(out)}</svg></div>'


def caption(step: dict) -> str:
    seen = ", ".join(f"{name}: {outcome}" for name, outcome in step["observation"].items() if outcome != "none")
    return (f'<figcaption style="margin-top: 6px"><b>Step {step["step"]}</b><br>sees {text(seen)}<br>'
            f'{text(step["does"])}</figcaption>')


# -------------------------------------------------------------------------------------------------------------------- the charts

def action_chart(task: dict, steps: list[dict]) -> str:
    """How probable each action was at each step: the policies' probabilities, summed by their first action."""
    actions = list(steps[0]["first"])
    left, cell, row = 8 * max(map(len, actions)) + 16, 46, 26
    out = [f'<svg width="{left + cell * len(steps) + 10}" height="{row * len(actions) + 44}">']
    for i, action in enumerate(actions):
        out.append(f'<text x="{left - 8}" y="{row * i + 18}" font-size="13" text-anchor="end">{text(action.lower())}</text>')
        for t, step in enumerate(steps):
            p, chosen = step["first"][action], step["action"]["move"] == action
            out.append(f'<rect x="{left + cell * t + 1}" y="{row * i + 1}" width="{cell - 2}" height="{row - 2}" fill="{shade(p)}"'
                       f' stroke="{ORANGE if chosen else GRID}" stroke-width="{3 if chosen else 1}"/>'
                       f'<text x="{left + cell * (t + .5)}" y="{row * i + 18}" font-size="12" text-anchor="middle"'
                       f' fill="{contrast(p)}">{p:.2f}</text>')
    for t, step in enumerate(steps):
        out.append(f'<text x="{left + cell * (t + .5)}" y="{row * len(actions) + 16}" font-size="12" text-anchor="middle">'
                   f'{step["step"]}</text>')
    out.append(f'<text x="{left}" y="{row * len(actions) + 36}" font-size="12" fill="#55616e">step</text></svg>')
    return f'<div class="scroll">{"".join(out)}</div>'


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that span a range."""
    raw = max(high - low, 1e-9) / count
    unit = 10 ** math.floor(math.log10(raw))
    width = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    first = math.floor(low / width)
    last = math.ceil(high / width - 1e-9)
    return [i * width for i in range(first, max(last, first + 1) + 1)]


def line_chart(series: list[dict], x_name: str, y_name: str, percent: bool = False) -> str:
    """Lines over a number of steps. A series is {name, points, color} and may have a band, dots and dashes."""
    width, height, left, bottom, top, legend = 760, 250, 60, 40, 14, 190
    points = [p for s in series for p in s["points"]] + [(x, y) for s in series for x, a, b in s.get("band", []) for y in (a, b)]
    xs = [t for t in ticks(min(p[0] for p in points), max(p[0] for p in points), 10) if t == int(t)]
    ys = [0, .2, .4, .6, .8, 1] if percent else ticks(min(0.0, *(round(y, 6) for _, y in points)), max(y for _, y in points))
    at_x = lambda x: left + (x - xs[0]) / ((xs[-1] - xs[0]) or 1) * (width - left - legend)
    at_y = lambda y: height - bottom - (y - ys[0]) / (ys[-1] - ys[0]) * (height - bottom - top)
    path = lambda line: " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line)
    out = [f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    for y in ys:
        label = f"{y:.0%}" if percent else f"{y:g}"
        out.append(f'<line x1="{left}" x2="{width - legend}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="{GRID}"/>'
                   f'<text x="{left - 6}" y="{at_y(y) + 4:.1f}" font-size="12" text-anchor="end">{label}</text>')
    for x in xs:
        out.append(f'<text x="{at_x(x):.1f}" y="{height - bottom + 18}" font-size="12" text-anchor="middle">{x:g}</text>')
    for i, s in enumerate(series):
        if "band" in s:
            edge = [(x, b) for x, _, b in s["band"]] + [(x, a) for x, a, _ in reversed(s["band"])]
            out.append(f'<polygon points="{path(edge)}" fill="{s["color"]}" opacity="0.15"/>')
        dash = ' stroke-dasharray="5 4"' if s.get("dashed") else ""
        out.append(f'<polyline points="{path(s["points"])}" fill="none" stroke="{s["color"]}" stroke-width="2"{dash}/>')
        if s.get("dots"):
            out += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3.5" fill="{s["color"]}"><title>{y:.3f}</title></circle>'
                    for x, y in s["points"]]
        y = top + 14 + 22 * i
        out.append(f'<line x1="{width - legend + 12}" x2="{width - legend + 34}" y1="{y - 4}" y2="{y - 4}" stroke="{s["color"]}"'
                   f' stroke-width="3"{dash}/><text x="{width - legend + 40}" y="{y}" font-size="13">{text(s["name"])}</text>')
    out.append(f'<text x="{(left + width - legend) / 2}" y="{height - 6}" font-size="13" text-anchor="middle">{text(x_name)}</text>'
               f'<text transform="translate(14 {height / 2 - 10}) rotate(-90)" font-size="13" text-anchor="middle">{text(y_name)}'
               '</text></svg>')
    return f'<div class="scroll">{"".join(out)}</div>'


# -------------------------------------------------------------------------------------------------------------------- the tables

def summary(tasks: list[dict]) -> str:
    rows = "".join(
        f'<tr><td>{text(t["title"])}</td><td>{t["agents"]:,}</td><td>{t["trials"]}</td><td>{t["reached"]:.1%}</td>'
        f'<td>{number(t["steps_to_goal"], 1)}</td><td>{t["vfe"]:.3f}</td><td>{t["policies"]:,}</td>'
        f'<td>{t["rate"]:,.0f}</td></tr>' for t in tasks)
    return ('<div class="scroll"><table><tr><th>Task</th><th>Agents</th><th>Trials each</th><th>Goal reached</th>'
            '<th>Steps to the goal (mean)</th><th>Free energy (mean, nats)</th><th>Plans weighed at each step</th><th>Steps per second</th></tr>' + rows + "</table></div>")


def number(x: float | None, digits: int) -> str:
    return "–" if x is None else f"{x:.{digits}f}"


def signed(x: float) -> str:
    return f"{round(x, 3) + 0.0:+.3f}".replace("-", "\u2212")


def explanation(step: dict) -> str:
    """For each first move the best plan, with what it was expected to bring."""
    parts = [("utility", "Preference"), ("state_info_gain", "Information"), ("inductive", "Nearness to the goal")]
    parts = [(k, name) for k, name in parts if any(abs(p[k]) > 1e-9 for p in step["plans"])]
    head = "".join(f"<th>{name}</th>" for _, name in parts)
    rows = []
    for i, p in enumerate(step["plans"]):
        cells = "".join(f"<td>{signed(p[k])}</td>" for k, _ in parts)
        rows.append(f'<tr{" class=chosen" if i == 0 else ""}><td>{text(" → ".join(p["moves"]))}</td>{cells}'
                    f'<td>{signed(p["neg_efe"])}</td><td>{p["probability"]:.4f}</td></tr>')
    return f'<div class="scroll"><table><tr><th>Plan</th>{head}<th>Sum</th><th>Probability</th></tr>{"".join(rows)}</table></div>'


# ---------------------------------------------------------------------------------------------------------------------- the page

def free_energy(task: dict) -> str:
    course = task["course"]
    return line_chart([
        {"name": f'mean of {task["agents"]:,} agents', "points": [(c["n"], c["mean"]) for c in course], "color": BLUE,
         "band": [(c["n"], c["low"], c["high"]) for c in course]},
        {"name": "the agent above", "points": [(i + 1, s["vfe"]) for i, s in enumerate(task["steps"])], "color": ORANGE,
         "dots": True},
    ], "step of the trial", "free energy (nats)")


def section(task: dict) -> str:
    steps = task["steps"]
    asked = steps[min(task["ask"], len(steps)) - 1]
    many = " The plans are many, so that even the best one's share is small." if task["policies"] > 50 else ""
    shortfall = ""
    if task["shortfall"] and task["reached"] < 1:
        shortfall = f'<p>{task["reached"]:.1%} of the trials reached the goal. {task["shortfall"]}</p>'
    spread = any(c["high"] - c["low"] > 1e-2 for c in task["course"])
    band = " The band holds the middle half of the agents that are still on their way." if spread else ""
    return f"""
<h2>{text(task["title"])}</h2>
<p>{task["story"]}</p>
{shortfall}
<h3>What one agent believes, step by step</h3>
<p class="note">Agent {task["agent_id"]}. The darker a cell, the more probable the agent holds it to be there; the orange frame is
where it truly is. {task["legend"]}</p>
<div class="film">{"".join(frame(task, s) for s in steps)}</div>
<h3>What it wants to do</h3>
<p class="note">The probability of each action at each step: of all plans that begin with it, together. The orange frame is the
action that it chose: the first of the single most probable plan, which need not be the most probable in sum.</p>
{action_chart(task, steps)}
<h3>Why, at step {asked["step"]}</h3>
<p class="note">For each first move the best of its {task["policies"]:,} plans, as <code>fa_explain({task["agent_id"]})</code> gives
them; it follows the one on top, and plans anew at the next step.{many} {task["why"]}</p>
{explanation(asked)}
<h3>Free energy over time</h3>
<p class="note">Free energy is surprise: how badly an observation fits what the agent expected.{band} {task["surprise"]}</p>
{free_energy(task)}"""


def render(report: dict) -> str:
    tasks = report["tasks"]
    total = sum(t["agents"] for t in tasks)
    last = 2 + max(n for t in tasks for n, share in enumerate(t["arrived"]) if share < 0.999 * t["arrived"][-1] or n == 0)
    reached = line_chart(
        [{"name": t["title"], "points": [(n, share) for n, share in enumerate(t["arrived"][:last + 1])], "color": color}
         for t, color in zip(tasks, SERIES)], "steps of the trial", "trials at the goal", percent=True)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fa_agents: {total:,} agents in a database</title><style>{STYLE}</style></head><body><main>
<h1>{total:,} agents in a database</h1>
<p class="note">fa_agents {text(report["version"])} in PostgreSQL {text(report["server"])}, {text(report["date"])}</p>
<p>Each agent here is a row of a table in PostgreSQL. It does not see the state of its world, only observations that hint at it.
At each step it updates what it believes, weighs plans by how well they serve its preferences <i>and</i> by how much it would learn
from them, and chooses an action: this is active inference. Steps are transactions, so that nothing is lost, and every belief and
decision can be asked for by SQL.</p>
<p>The three tasks are the standard ones of the field, as the library pymdp defines them. All agents ran in closed loop with worlds
that the database simulates.</p>
<h3>What happened</h3>
{summary(tasks)}
<p class="note">Measured in this run, on this machine, over {report["connections"]} connections. A trial ends at the goal, or after
{", ".join(f'{t["max_steps"]} steps ({text(t["title"])})' for t in tasks)}.</p>
<h3>How soon they reach their goals</h3>
{reached}
{"".join(section(t) for t in tasks)}
<h2>Ask for yourself</h2>
<p>What is on this page came out of statements like these:</p>
<pre>CREATE EXTENSION fa_agents;
SELECT fa_model_create('maze', fa_spec_tmaze());
SELECT fa_agent_create('maze', 'mouse');          -- its id, say 1
SELECT * FROM fa_run(1, 5);                       -- five steps in its world
SELECT fa_belief(1), fa_action(1);                -- by name
SELECT * FROM fa_explain(1) ORDER BY probability DESC LIMIT 5;</pre>
</main></body></html>
"""

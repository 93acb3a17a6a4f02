"""Makes report.html of a file of results: one page, with its pictures in it and nothing to fetch.

    python3 bench/report.py [RESULTS.json [REPORT.html]]

Every number on the page comes from the results; what a scenario measures, and why it is fair, comes from its docstring.
"""
from __future__ import annotations

import ast
import html
import json
import pathlib
import sys
from typing import Any

import chart

HERE = pathlib.Path(__file__).resolve().parent
# in the order of the page
ORDER = ["kernel", "kernel_alone", "step_single", "step_many", "run_many", "app_tier", "durable", "freeagentics", "scale", "spawn",
         "wal", "memory", "size", "workers", "graph", "graph_sync", "messages", "coalition"]
STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1c2733; background: #fff; margin: 0 }
main { max-width: 1000px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 28px; margin: 8px 0 4px }
h2 { font-size: 21px; margin: 44px 0 6px; padding-top: 14px; border-top: 2px solid #1c2733 }
p { max-width: 800px; margin: 6px 0 } .note { color: #55616e; font-size: 14px } .warning { color: #b3261e; font-weight: 600 }
table { border-collapse: collapse; margin: 12px 0; font-size: 14px }
th, td { text-align: right; padding: 4px 10px; border-bottom: 1px solid #d8dee6; vertical-align: top }
th { font-weight: 600; vertical-align: bottom } td.value { white-space: nowrap }
th.left, td.left { text-align: left } td.notes { text-align: left; min-width: 260px } th:first-child, td:first-child { padding-left: 0; text-align: left }
.met { color: #2b7a3a; font-weight: 600; white-space: nowrap } .missed { color: #b3261e; font-weight: 600; white-space: nowrap }
.ours { color: #1f5fbf; font-weight: 600 } .peer { color: #d9680f; font-weight: 600 }
code { font-family: "DejaVu Sans Mono", monospace; font-size: 13px }
summary { cursor: pointer; color: #55616e; font-size: 14px } a { color: #1f5fbf }
.scroll { overflow-x: auto } svg { display: block; margin: 10px 0 } svg text { font-family: system-ui, "DejaVu Sans", sans-serif }
"""
Result = dict[str, Any]


def scenario_of(result: Result) -> str:
    return result["name"].split("/")[0]


def label_of(result: Result) -> str:
    return result["name"].split("/", 1)[-1]


def times(value: float) -> str:
    """How many times better, in words."""
    if abs(value - 1) < 0.005:
        return "as the peer"
    return f"{chart.number(value)} times better" if value > 1 else f"{chart.number(1 / value)} times worse"


def goal(result: Result) -> str:
    """The goal in words: "times >= 10" is "at least 10 times better"."""
    of, compare, limit = result["goal"].split()
    bound = {"<": "under", "<=": "at most", ">": "over", ">=": "at least"}[compare]
    after = {"times": " times better", "ratio": " of the peer's", "value": f" {result['unit']}"}[of]
    return f"{bound} {float(limit):,g}{after}"


def reached(result: Result) -> str:
    """What counts for the goal."""
    of = result["goal"].split()[0]
    if of == "value":
        return f"{chart.number(result['value'])} {result['unit']}"
    return times(result["times"]) if of == "times" else f"{chart.number(result['ratio'])} of the peer's"


def verdict(result: Result) -> str:
    return '<span class="met">&#10003; met</span>' if result["met"] else '<span class="missed">&#10007; missed</span>'


def distance(result: Result) -> float:
    """How far beyond its goal a figure is, as a factor: below 1 it missed."""
    of, compare, limit = result["goal"].split()
    return result[of] / float(limit) if compare.startswith(">") else float(limit) / max(result[of], 1e-12)


def docstring(scenario: str) -> tuple[str, list[str]]:
    """What is measured, and the paragraphs after it."""
    source = (HERE / "scenarios" / f"{scenario}.py").read_text(encoding="utf-8")
    first, *rest = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    return first.replace("\n", " "), [paragraph.replace("\n", " ") for paragraph in rest]


# ------------------------------------------------------------------------------------------------------------------ the parts

def headline(groups: dict[str, list[Result]]) -> str:
    """A row for each scenario: how many goals it met, and the figure that is nearest to missing, or furthest from its goal."""
    rows = []
    for name, results in groups.items():
        goals = [result for result in results if result["goal"]]
        cells = [f'<a href="#{name}"><code>{name}</code></a>', html.escape(docstring(name)[0])]
        if goals:
            met, hardest = sum(result["met"] for result in goals), min(goals, key=lambda result: (result["met"], distance(result)))
            cells += [f'<span class="{"met" if met == len(goals) else "missed"}">{met} of {len(goals)}</span>',
                      f"<code>{html.escape(label_of(hardest))}</code>", reached(hardest), goal(hardest), verdict(hardest)]
        else:
            cells += ["none", "", "", "", ""]
        rows.append("<tr>" + "".join(f'<td class="left">{cell}</td>' for cell in cells) + "</tr>")
    heads = "".join(f'<th class="left">{head}</th>' for head in ("scenario", "what against what", "goals met",
                                                                  "its hardest figure", "reached", "goal", ""))
    return f'<div class="scroll"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def mark(result: Result, side: str) -> chart.Mark:
    names = (f"{side}_value", f"{side}_min", f"{side}_max") if side == "peer" else ("value", "value_min", "value_max")
    return chart.Mark(*(result[name] for name in names))


def picture(results: list[Result]) -> str:
    """One for each unit and direction."""
    kinds: dict[tuple[str, str], list[chart.Line]] = {}
    for result in results:
        has_peer = result["peer"] is not None
        note = f"{chart.number(result['value'])}{': ' + times(result['times']) if has_peer else ''}"
        note += {None: "", True: " \u2713", False: " \u2717 missed"}[result["met"]]
        kinds.setdefault((result["unit"], result["better"]), []).append(
            chart.Line(label_of(result), mark(result, "ours"), mark(result, "peer") if has_peer else None, note, result["met"]))
    return "".join(f'<div class="scroll">{chart.draw(lines, *kind)}</div>' for kind, lines in kinds.items())


def spread(value: float | None, least: float | None, most: float | None) -> str:
    if value is None:
        return ""
    around = "" if least == most else f' <span class="note">{chart.number(least)}&ndash;{chart.number(most)}</span>'
    return chart.number(value) + around


def figures(results: list[Result]) -> str:
    rows = []
    for result in results:
        rows.append("<tr>" + "".join([
            f'<td><code>{html.escape(label_of(result))}</code></td>',
            f'<td class="value">{spread(result["value"], result["value_min"], result["value_max"])}</td>',
            f'<td class="value">{spread(result["peer_value"], result["peer_min"], result["peer_max"])}</td>',
            f'<td class="left">{html.escape(result["unit"])}</td>',
            f'<td class="value">{"" if result["times"] is None else chart.number(result["times"])}</td>',
            f'<td class="left">{goal(result) + " " + verdict(result) if result["goal"] else ""}</td>',
            f'<td class="notes">{html.escape("; ".join(filter(None, (result["peer"], result["note"]))))}</td>']) + "</tr>")
    return ('<div class="scroll"><table><tr><th>figure</th><th>ours</th><th>peer</th><th class="left">unit</th><th>times better</th>'
            '<th class="left">goal</th><th class="left">peer; note</th></tr>' + "".join(rows) + "</table></div>")


def section(name: str, results: list[Result]) -> str:
    first, rest = docstring(name)
    paragraphs = "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in rest)
    return (f'<h2 id="{name}">{name}</h2><p>{html.escape(first[0].upper() + first[1:])}.</p>{picture(results)}'
            f"<details><summary>All figures: median, least&ndash;most of the rounds</summary>{figures(results)}</details>"
            f"<details><summary>How it was measured, and why it is fair</summary>{paragraphs}</details>")


def warnings(machine: Result) -> str:
    out = []
    if machine["quick"]:
        out.append("This was a quick run, to try the bench itself: its figures mean nothing.")
    if machine["load_at_start"] > 0.5:
        out.append(f"The machine was busy when the run began (load {machine['load_at_start']}): the figures are noisy.")
    return "".join(f'<p class="warning">{text}</p>' for text in out)


def page(machine: Result, results: list[Result]) -> str:
    groups = {name: [result for result in results if scenario_of(result) == name] for name in ORDER}
    for result in results:
        if scenario_of(result) not in ORDER:
            groups.setdefault(scenario_of(result), []).append(result)
    groups = {name: mine for name, mine in groups.items() if mine}
    goals = [result for result in results if result["goal"]]
    about = (f"{machine['cpu']}, {machine['value']} cores, {machine['memory_bytes'] / 2**30:.0f} GB of memory,"
             f" Linux {machine['kernel']}; PostgreSQL {machine['postgresql']}; fa_agents {machine['extension']};"
             f" {machine['date'][:16].replace('T', ' ')} UTC; all of it on this one machine, both sides in the same run.")
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>fa_agents: benchmarks</title><style>{STYLE}</style><main>
<h1>fa_agents: benchmarks</h1>
<p>{sum(result["met"] for result in goals)} of {len(goals)} goals met.</p>{warnings(machine)}
<p class="note">{html.escape(about)}</p>
{headline(groups)}
<p><span class="ours">&#9679; ours</span> and <span class="peer">&#9679; the peer</span>: what a user would take instead, or the
least that PostgreSQL itself takes. A dot is the median of the rounds, its bar goes from the least to the most. Axes are
logarithmic: the distance of two dots is how many times one is the other.</p>
{"".join(section(name, mine) for name, mine in groups.items())}
</main></html>
"""


def write(source: pathlib.Path, target: pathlib.Path) -> None:
    machine, *results = json.loads(source.read_text(encoding="utf-8"))
    target.write_text(page(machine, results), encoding="utf-8")


if __name__ == "__main__":
    paths = [pathlib.Path(argument) for argument in sys.argv[1:]]
    write(*paths, *[HERE / "results" / "latest.json", HERE / "report.html"][len(paths):])

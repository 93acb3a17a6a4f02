"""The page of the demo of the knowledge graph: one self-contained HTML file, drawn from what graph.py measured."""
from __future__ import annotations

import math
import statistics

from page import BLUE, GRID, INK, ORANGE, STYLE, line_chart, text

COLORS = ["#1f5fbf", "#d9680f", "#2b8a3e", "#8e3bb0", "#c2255c", "#0b7285", "#a0522d", "#5c940d", "#364fc7", "#e8590c"]
BELIEVERS = ("SELECT count(*) FROM fa_node WHERE kind = 'agent'\n    AND props @> '{{\"believes\": {{\"concept\": \"{label}\"}}}}'\n"
             "    AND (props #>> '{{belief,concept,{label}}}')::float8 > 0.8")
SIZE = 620


def lines(report: dict) -> dict[str, dict]:
    """Of each search: after how many steps its agents knew; who never did counts as one step more than there were."""
    out = {}
    for how, search in report["searches"].items():
        steps = [n or report["rounds"] + 1 for n in search["knows"]]
        out[how] = {"mean": statistics.mean(steps), "median": statistics.median(steps),
                    "share": sum(n is not None for n in search["knows"]) / len(steps)}
    return out


def sooner(report: dict) -> float:
    of = lines(report)
    return of["alone"]["mean"] / of["together"]["mean"]


# ------------------------------------------------------------------------------------------------------------------- the picture

def layout(parents: list[int | None]) -> list[tuple[float, float]]:
    """The tree from its middle: a ring for each depth, leaves on the outermost; each branch has as much of the circle as leaves."""
    children = [[i for i, p in enumerate(parents) if p == node] for node in range(len(parents))]
    places: dict[int, tuple[float, float]] = {}

    def leaves(node: int) -> int:
        return sum(map(leaves, children[node])) or 1

    def depth(node: int) -> int:
        return 1 + max(map(depth, children[node]), default=-1)

    ring = (SIZE / 2 - 90) / max(depth(0), 1)

    def put(node: int, level: int, first: float, last: float) -> None:
        middle = (first + last) / 2
        radius = ring * (level if children[node] else depth(0))
        places[node] = (SIZE / 2 + radius * math.cos(middle), SIZE / 2 + radius * math.sin(middle))
        share = (last - first) / leaves(node)
        for child in children[node]:
            put(child, level + 1, first, first + share * leaves(child))
            first += share * leaves(child)

    put(0, 0, 0, 2 * math.pi)
    return [places[i] for i in range(len(parents))]


def walk(places: list[tuple[float, float]], path: list[int], color: str, which: int) -> str:
    """A path, a little beside those of others; a dot where it ends."""
    shift = [(x + 2.2 * math.cos(which), y + 2.2 * math.sin(which)) for x, y in (places[place] for place in path)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shift)
    x, y = shift[-1]
    return (f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2" stroke-opacity="0.75" stroke-linejoin="round"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{color}"/>')


def picture(report: dict, how: str, which: int) -> str:
    """The walks of one coalition, until each of its agents knew."""
    part, search = report["part"], report["searches"][how]
    places = layout(part["parents"])
    target = search["targets"][which]
    first = which * report["coalition"]
    members = range(first, first + report["coalition"])
    out = [f'<svg viewBox="-30 -15 {SIZE + 60} {SIZE + 30}" width="100%" role="img">']
    for i, parent in enumerate(part["parents"]):
        if parent is not None:
            (x1, y1), (x2, y2) = places[parent], places[i]
            out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}" stroke-width="1.5"/>')
    for color, i in zip(COLORS * len(members), members):
        out.append(walk(places, search["paths"][i], color, i - first))
    branches = set(part["parents"])
    for i, (x, y) in enumerate(places):
        title = f"<title>{text(part['labels'][i])}</title>"
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.5 if i in branches else 2.5}" fill="#fff" stroke="{INK}">{title}</circle>')
        if i != target:
            out.append(label(places, i, part["names"][i], i in branches))
    x, y = places[target]
    out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="none" stroke="{ORANGE}" stroke-width="4"/>')
    out.append(label(places, target, part["names"][target], True, ORANGE))
    steps = [len(search["paths"][i]) for i in members]
    unsure = sum(search["knows"][i] is None for i in members)
    end = f"{unsure} of them do not know after {max(steps)}" if unsure else f"the last knows after {max(steps)}"
    return f'<figure><b>{how.capitalize()}</b>: {sum(steps)} steps in all, {end}{"".join(out)}</svg></figure>'


def label(places: list[tuple[float, float]], i: int, name: str, large: bool, color: str = INK) -> str:
    """Outward from the middle, so that names of neighbours do not meet."""
    x, y = places[i]
    turn = math.degrees(math.atan2(y - SIZE / 2, x - SIZE / 2))
    flipped = abs(turn) > 90
    anchor, gap = ("end", -8) if flipped else ("start", 8)
    size = 13 if color != INK else 10 if large else 9
    weight = ' font-weight="700"' if color != INK else ""
    return (f'<text transform="translate({x:.1f} {y:.1f}) rotate({turn - 180 if flipped else turn:.1f})" x="{gap}" y="3" font-size="{size}"'
            f' text-anchor="{anchor}" fill="{color}"{weight} paint-order="stroke" stroke="#fff" stroke-width="2.5">{text(name)}</text>')


# ---------------------------------------------------------------------------------------------------------------------- the page

def table(report: dict) -> str:
    rows = "".join(f"<tr><td>{how}</td><td>{of['mean']:.1f}</td><td>{of['median']:g}</td><td>{of['share']:.0%}</td>"
                   f"<td>{report['searches'][how]['messages']:,}</td></tr>" for how, of in lines(report).items())
    return ('<div class="scroll"><table><tr><th></th><th>steps until an agent knows, mean</th><th>half of them know after</th>'
            f"<th>know at the end</th><th>messages</th></tr>{rows}</table></div>")


def course(report: dict) -> str:
    series = []
    last = max(n or report["rounds"] for search in report["searches"].values() for n in search["knows"])
    for (how, search), color in zip(report["searches"].items(), (ORANGE, BLUE)):
        knows = search["knows"]
        points = [(n, sum(k is not None and k <= n for k in knows) / len(knows)) for n in range(last + 1)]
        series.append({"name": how, "points": points, "color": color})
    return line_chart(series, "steps", "agents that know", percent=True)


def render(report: dict) -> str:
    part = report["part"]
    which = max(range(len(report["searches"]["alone"]["targets"])), key=lambda i: gain(report, i))
    target = report["searches"]["alone"]["targets"][which]
    query = BELIEVERS.format(label=part["labels"][report["searches"]["together"]["targets"][0]])
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fa_agents: {report["agents"]} agents forage in WordNet</title><style>{STYLE}
main {{ max-width: 1280px }}
.pair {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 14px }}</style></head><body><main>
<h1>{report["agents"]} agents forage in WordNet</h1>
<p class="note">fa_agents {text(report["version"])}, {text(report["date"])}; a graph of {report["nodes"]:,} synsets and {report["edges"]:,}
relations in PostgreSQL.</p>
<p>Each agent looks for a concept among {len(part["places"])} under <i>{text(report["root"])}</i>. It stands at a synset, sees whether
what it looks for is here, or a hyponym or the hypernym of what is here, and follows a relation to where it expects to learn
most. {report["agents"] // report["coalition"]} coalitions of {report["coalition"]} look for a concept each. First every agent is for
itself; then the same agents, with the same seeds, tell their coalition by messages what they see.</p>
<h3>Together they know {sooner(report):.1f} times sooner</h3>
{table(report)}
<p class="note">An agent knows when it believes in the right place with more than {report["sure"]}. An agent that never does counts
as if it knew one step after the end. Together an agent also learns from where others stand, and looks where nobody has been.</p>
{course(report)}
<h2>Ten of them, looking for <i>{text(part["names"][target])}</i></h2>
<p class="note">The coalition that gained most. Lines are the walks of its agents until each knew, dots where they ended; the ring is
what they looked for.</p>
<div class="pair">{picture(report, "alone", which)}{picture(report, "together", which)}</div>
<h2>Who believes it?</h2>
<p>What agents believe stands in the graph when they change their minds, so it is asked like anything else there. This one goes by an
index; after the second search it counts {report["believers"]}.</p>
<pre>{text(query)};</pre>
</main></body></html>
"""


def gain(report: dict, which: int) -> int:
    """How many steps the coalition saved by talking."""
    first = which * report["coalition"]
    members = slice(first, first + report["coalition"])
    return sum(map(len, report["searches"]["alone"]["paths"][members])) - sum(map(len, report["searches"]["together"]["paths"][members]))

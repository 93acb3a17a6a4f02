"""Trees of calls, from what perf and callgrind write."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterable, Iterator

SMALLEST = 1 / 2000                     # of the whole: what is narrower cannot be seen
DEEPEST = 200


@dataclass
class Node:
    """A function as called by those above it: what was spent in it and below, in samples or instructions."""
    name: str
    total: float = 0
    calls: dict[str, Node] = field(default_factory=dict)

    def call(self, name: str, amount: float) -> Node:
        node = self.calls.setdefault(name, Node(name))
        node.total += amount
        return node


# ---------- perf: whole stacks ----------

def perf_stacks(lines: Iterable[str]) -> Iterator[list[str]]:
    """The stacks of perf script -F ip,sym,dso, outermost function first; a sample ends with an empty line."""
    stack: list[str] = []
    for line in [*lines, ""]:
        found = re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line)
        if found:
            name = found[1].split("+0x")[0]
            # nothing known but the file it is in
            stack.append(name if name != "[unknown]" else f"[{found[2].rsplit('/', 1)[-1].strip('[]')}]")
        elif not line.strip() and stack:
            yield stack[::-1]
            stack = []


def tree_of_stacks(stacks: Iterable[list[str]]) -> Node:
    root = Node("all")
    for stack in stacks:
        root.total += 1
        node = root
        for name in stack:
            node = node.call(name, 1)
    return root


# ---------- callgrind: who called whom, and what it cost ----------

class Graph:
    """own[f]: spent in f itself; below[f][g]: spent in g and what it calls, when called by f."""

    def __init__(self) -> None:
        self.own: dict[str, float] = {}
        self.below: dict[str, dict[str, float]] = {}

    def total(self, name: str) -> float:
        return self.own.get(name, 0) + sum(self.below.get(name, {}).values())


def callgrind_graph(lines: Iterable[str]) -> Graph:
    """Names are given once, "(7) main", and then by number, "(7)"."""
    graph, names = Graph(), {}
    function = called = ""
    is_call = False

    def name_of(text: str) -> str:
        number, _, name = text.partition(" ")
        if name:
            names[number] = name
        return names.get(number, number)

    for line in lines:
        key, _, rest = line.rstrip("\n").partition("=")
        if key == "fn":
            function = name_of(rest)
        elif key == "cfn":
            called = name_of(rest)
        elif key == "calls":
            is_call = True
        elif re.match(r"[0-9+*-]", line):
            cost = float(line.split()[1]) if len(line.split()) > 1 else 0
            if is_call:
                below = graph.below.setdefault(function, {})
                below[called] = below.get(called, 0) + cost
            else:
                graph.own[function] = graph.own.get(function, 0) + cost
            is_call = False
    return graph


def tree_of_graph(graph: Graph) -> Node:
    """From those that nobody calls. What a function costs is shared out to its callers by what callgrind says each call cost."""
    called = {name for below in graph.below.values() for name in below}
    first = [name for name in {**graph.own, **graph.below} if name not in called]
    root = Node("all", sum(map(graph.total, first)))
    for name in first:
        expand(graph, root.call(name, graph.total(name)), root.total * SMALLEST, (name,))
    return root


def expand(graph: Graph, node: Node, smallest: float, path: tuple[str, ...]) -> None:
    total = graph.total(node.name)
    for name, cost in graph.below.get(node.name, {}).items():
        amount = node.total * cost / total if total else 0
        # a call of one above is in that one's cost already
        if amount >= smallest and name not in path and len(path) < DEEPEST:
            expand(graph, node.call(name, amount), smallest, (*path, name))

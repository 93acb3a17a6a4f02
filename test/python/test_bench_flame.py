"""Trees of calls from what perf and callgrind write, and the picture of one."""
import sys
import xml.dom.minidom
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "flame"))

import draw
import stacks

PERF = """
    55d0 step_block+0x12 (/usr/lib/fa_agents.so)
    55d1 fa_step (/usr/lib/fa_agents.so)
    55d2 main (/usr/bin/postgres)

    55d3 [unknown] (/usr/lib/libc.so.6)
    55d2 main (/usr/bin/postgres)
"""
# main calls work twice; work is called from other, too, and calls itself
CALLGRIND = """version: 1
events: Ir
fn=(1) main
10 5
cfn=(2) work
calls=2 20
11 60
cfn=(3) other
calls=1 30
12 35
fn=(2)
20 70
cfn=(2)
calls=1 20
21 10
fn=(3)
30 5
cfn=(2)
calls=1 20
+1 30
"""


def flat(node, path=()):
    path = (*path, node.name)
    out = {"/".join(path): node.total}
    for child in node.calls.values():
        out.update(flat(child, path))
    return out


def test_stacks_of_perf():
    tree = stacks.tree_of_stacks(stacks.perf_stacks(PERF.splitlines()))
    assert flat(tree) == {"all": 2, "all/main": 2, "all/main/fa_step": 1, "all/main/fa_step/step_block": 1, "all/main/[libc.so.6]": 1}


def test_graph_of_callgrind():
    graph = stacks.callgrind_graph(CALLGRIND.splitlines())
    assert graph.own == {"main": 5, "work": 70, "other": 5}
    assert graph.below == {"main": {"work": 60, "other": 35}, "work": {"work": 10}, "other": {"work": 30}}
    assert flat(stacks.tree_of_graph(graph)) == {"all": 100, "all/main": 100, "all/main/work": 60, "all/main/other": 35,
                                                 "all/main/other/work": 30}


def test_picture_is_whole():
    root = stacks.tree_of_stacks([["main", "a<b>"], ["main", "fa_step"], ["main", "fa_step"]])
    picture = draw.flame(root, "of a & b", frozenset(["fa_step"]))
    boxes = [g for g in xml.dom.minidom.parseString(picture).getElementsByTagName("g") if g.hasAttribute("data-x")]
    found = {g.getAttribute("data-name"): (float(g.getAttribute("data-x")), float(g.getAttribute("data-w"))) for g in boxes}
    # the widest stands first; boxes lie side by side on their caller
    assert found == {"all": (0, 1), "main": (0, 1), "fa_step": (0, 0.666667), "a<b>": (0.666667, 0.333333)}
    colors = {g.getAttribute("data-name"): g.getElementsByTagName("rect")[0].getAttribute("fill") for g in boxes}
    assert colors["fa_step"] == draw.OURS and colors["main"] == draw.OTHERS

"""the kernel without a server, one agent at a time, against pymdp JAX under jit with one agent

The fifteen cases of the scenario kernel, one core, blocks and batches of one. Compiling is not counted. Goal: 20 times faster,
but for 256 dense states, where both have the same few large products to do.
"""
import kernel_cases
from common import Bench, Goal
from comparator import Comparator, last_core

COMPARATORS = True


def run(bench: Bench) -> None:
    folder = kernel_cases.specs()
    with Comparator("kernel", last_core()) as peer:
        for case in kernel_cases.CASES[:bench.size(15, 2)]:
            peer.ask("alone", case=case)
            goal = None if case in kernel_cases.LARGE else Goal("times", ">=", 20)
            kernel_cases.measure(bench, peer, case, folder / f"{case}.json", 1, "pymdp JAX, one agent", goal)

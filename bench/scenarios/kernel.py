"""the kernel without a server, many agents of one model, against pymdp JAX under jit in its best batch

Fifteen cases, one core (kernel_cases.py says what is alike on both sides). We step 1,024 agents at a time. pymdp steps as many
as suits it: of batches of 16 to 4,096, made by the Agent's own batch axis or by vmap over one Agent, the fastest is found
first and then measured. Compiling is not counted. Goals: 10 times faster where the model has structure, 5 times on small
random models, twice on 256 dense states; 20 times in the geometric mean.
"""
import statistics

import kernel_cases
from common import Bench, Goal
from comparator import Comparator, last_core

COMPARATORS = True
AGENTS = 1024


def goal(case: str) -> Goal:
    return Goal("times", ">=", 10 if case in kernel_cases.STRUCTURED else 5 if case in kernel_cases.SMALL else 2)


def run(bench: Bench) -> None:
    folder = kernel_cases.specs()
    first = len(bench.results)
    with Comparator("kernel", last_core()) as peer:
        for case in kernel_cases.CASES[:bench.size(15, 2)]:
            found = peer.ask("best", case=case)
            kernel_cases.measure(bench, peer, case, folder / f"{case}.json", AGENTS,
                                 f"pymdp JAX, {found['form']} of {found['size']}", goal(case))
    times = [result.times for result in bench.results[first:]]
    bench.report("geometric_mean", [statistics.geometric_mean(times)], "times", "higher", goal=Goal("value", ">=", 20))

"""Times steps of pymdp under jit, for scenarios/kernel.py and kernel_alone.py.

Agents of one case are stepped in the best way found: either form, a few sizes of the batch, whichever is fastest.
"""
from __future__ import annotations

from typing import Any, Callable

from models import CASES
from pymdp_jax import batched, microseconds
from serve import serve

SIZES = (16, 128, 1024)
LARGER = 4096
TRIAL_SECONDS = 0.1
HOPELESS = 1.3                          # so much slower than the best until then: larger batches are not tried

chosen: dict[str, tuple[Callable[[], Any], int]] = {}


def alone(case: str) -> None:
    """Compiles a step of one agent, to be timed."""
    call = batched(CASES[case](), 1, "agent")
    microseconds(call, 1, 0)
    chosen[case] = (call, 1)


def best(case: str) -> dict[str, Any]:
    """Looks for the fastest way to step many agents, to be timed; tells which it is."""
    model = CASES[case]()
    found = (float("inf"), "", 0)

    def attempt(form: str, size: int) -> float:
        nonlocal found
        call = batched(model, size, form)
        call()                          # compiles
        took = microseconds(call, size, TRIAL_SECONDS)
        if took < found[0]:
            found = (took, form, size)
            chosen[case] = (call, size)
        return took

    for form in ("vmap", "agent"):
        for size in SIZES:
            if attempt(form, size) > HOPELESS * found[0]:
                break
    if found[2] == SIZES[-1]:           # then a larger one may be better still
        attempt(found[1], LARGER)
    return {"form": found[1], "size": found[2]}


def measure(case: str, seconds: float) -> float:
    """Microseconds of a step of one agent."""
    return microseconds(*chosen[case], seconds)


def forget(case: str) -> None:
    del chosen[case]


serve(alone=alone, best=best, measure=measure, forget=forget)

"""How a comparator answers the bench: a JSON object a line comes in, {"call": NAME, ...arguments}, and its result goes out.

So a comparator keeps what it has built, and its rounds take turns with ours. Whatever a library prints goes to standard
error; only answers go to standard output.
"""
from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Iterable


def serve(**calls: Callable[..., Any]) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(calls[request.pop("call")](**request)) + "\n")
        answers.flush()


def array(values: Iterable[Any]) -> str:
    """An array of PostgreSQL as text: for numbers this is the cheapest that psycopg can send."""
    return "{" + ",".join(map(str, values)) + "}"

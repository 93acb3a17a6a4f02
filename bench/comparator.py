"""Programs to compare with, and clients in Python: processes that stay, and answer one request after another.

They run in an environment of their own (comparators/install), so that no library of theirs is needed to run the rest, and
each keeps what it has built: so their rounds can take turns with ours.
"""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any, Sequence

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = HERE.parent / "build" / "bench" / "venv" / "bin" / "python"


def last_core() -> int:
    """Where a program runs that may have one core: the last, for the first one serves most interrupts."""
    return max(os.sched_getaffinity(0))


class Comparator:
    """comparators/SCRIPT.py, in a process of its own; core pins it to one core."""

    def __init__(self, script: str, core: int | None = None):
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self.script = script
        self.complaints = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([*pinned, PYTHON, "-B", HERE / "comparators" / f"{script}.py"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.complaints, text=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, call: str, **arguments: Any) -> None:
        try:
            print(json.dumps({"call": call, **arguments}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass                        # answer() says what it died of

    def answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.complaints.seek(0)
            raise RuntimeError(f"{self.script} failed: {self.complaints.read()[-4000:]}")
        return json.loads(line)

    def ask(self, call: str, **arguments: Any) -> Any:
        self.send(call, **arguments)
        return self.answer()

    def close(self) -> None:
        """It ends by itself when nothing more can be asked."""
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.complaints.close()

    def __enter__(self) -> Comparator:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


class Crew:
    """Several processes of one program that work at the same time."""

    def __init__(self, script: str, count: int):
        self.members = [Comparator(script) for _ in range(count)]

    def ask(self, call: str, arguments: Sequence[dict[str, Any]]) -> list[Any]:
        """One request to each of the first ones, at once, and all their answers."""
        busy = self.members[:len(arguments)]
        for member, mine in zip(busy, arguments):
            member.send(call, **mine)
        return [member.answer() for member in busy]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: Any) -> None:
        for member in self.members:
            member.close()

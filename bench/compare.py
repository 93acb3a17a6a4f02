"""Holds two results against each other, and fails where the newer one is worse.

    python3 bench/compare.py [OLD.json [NEW.json]]

What was committed last and results/latest.json, unless it is told otherwise; REVISION:PATH is a file of git's.
Only ratios are compared, each to a peer measured in the same run: a machine that is slower, or busy, treats both sides alike. A
figure without a peer is not compared. Worse means by more than ALLOWED, in the direction that is worse for that figure.
"""
from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
COMMITTED = "HEAD:bench/results/latest.json"

ALLOWED = {"spawn": 0.10, "memory": 0.20, "size": 0.20}
ALLOWED_ELSE = 0.15                     # steps, and messages


def allowed(name: str) -> float:
    return ALLOWED.get(name.split("/")[0], ALLOWED_ELSE)


def compared(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {result["name"]: result for result in results if result.get("ratio") is not None}


def worsening(old: dict[str, Any], new: dict[str, Any]) -> float:
    """By which part the ratio to the peer is worse than it was: 0.1 is 10 %; below 0 it is better."""
    if new["better"] == "lower":
        return new["ratio"] / old["ratio"] - 1
    return 1 - new["ratio"] / old["ratio"]


def regressions(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> tuple[list[str], int]:
    """A line for each figure that is worse than allowed, and how many were compared."""
    before, after = compared(old), compared(new)
    common = [name for name in before if name in after]
    lines = []
    for name in common:
        worse = worsening(before[name], after[name])
        if worse > allowed(name):
            lines.append(f"{name}: {before[name]['ratio']:.4g} of the peer before, {after[name]['ratio']:.4g} now,"
                         f" {100 * worse:.0f} % worse (allowed: {100 * allowed(name):.0f} %)")
    return lines, len(common)


def scenarios(results: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({name.split("/")[0] for name in compared(results)})) or "none"


def load(path: str) -> list[dict[str, Any]]:
    try:
        if ":" in path:
            text = subprocess.run(["git", "show", path], cwd=HERE, capture_output=True, text=True, check=True).stdout
        else:
            text = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"bench-compare: there is no result {path}: {getattr(error, 'stderr', None) or error}")
    results = json.loads(text)
    if any(result.get("quick") for result in results):
        sys.exit(f"bench-compare: {path} is of a quick run, whose figures mean nothing")
    return results


def main() -> int:
    given = sys.argv[1:]
    old, new = map(load, given + [COMMITTED, str(HERE / "results" / "latest.json")][len(given):])
    lines, count = regressions(old, new)
    if count == 0:
        sys.exit("bench-compare: the two results have no figure in common that has a peer: the older one has"
                 f" {scenarios(old)}, the newer one {scenarios(new)}")
    for name in sorted(compared(old).keys() - compared(new).keys()):
        print(f"{name}: not measured now")
    print("\n".join([*lines, f"{count} figures compared, {len(lines)} worse than allowed"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

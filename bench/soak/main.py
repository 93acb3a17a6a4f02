"""Agents of several models at work for hours: does anything grow that should not?

Called by bench/soak/run, in a private cluster that psycopg finds by its environment. Samples memory, tables and latency while
schedules run and observations arrive, draws them, and compares the last quarter of the time with the second one.
"""
from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import random
import statistics
import sys
import threading
import time

import matplotlib
import psycopg

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402  (the backend comes first)

TARGET = pathlib.Path(__file__).resolve().parents[2] / "build" / "bench"
AGENTS = 300                            # of each model
OBSERVATIONS = 50                       # a second
SAMPLES = 240
GROWTH = {"memory": 1.10, "tables": 1.10, "p99": 1.25}  # that is still called flat; a step of the latencies' histogram is 1.19
LEARNER = ('{"A": [[[0.9, 0.1], [0.1, 0.9]]], "B": [[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], "C": [[0, 1]],'
           ' "pA": [[[9, 1], [1, 9]]], "learn_A": true}')
MODELS = {"grid": ("fa_spec_grid(5, 5)", "1 s"), "maze": ("fa_spec_tmaze()", "2 s"), "cue": ("fa_spec_cue_chain()", "5 s"),
          "learner": (f"'{LEARNER}'::jsonb", "500 ms"), "event": ("fa_spec_grid(4, 4)", None)}
TABLES = "fa_belief fa_learned fa_observation fa_key fa_schedule_slice fa_retry".split()


@dataclasses.dataclass
class Sample:
    hours: float
    memory: float                       # MB that a background process has to itself, the largest one: they come and go
    processes: int                      # launcher, coordinator, workers
    tables: float                       # MB of what they write, with indexes
    p99: float                          # ms from due to committed, the worst schedule, since the start
    rate: float                         # steps a second since the last sample
    errors: int


def connect() -> psycopg.Connection:
    return psycopg.connect(autocommit=True)


def set_up(conn: psycopg.Connection) -> None:
    conn.execute("CREATE EXTENSION fa_agents")
    for name, (spec, every) in MODELS.items():
        conn.execute(f"SELECT fa_model_create('{name}', {spec})")
        conn.execute("SELECT count(*) FROM fa_agent_create_many(%s, %s)", (name, AGENTS))
        conn.execute("SELECT fa_schedule_create(%s, %s, %s)", (name, name, every))


def observe(over: threading.Event) -> None:
    """What arrives from outside."""
    with connect() as conn:
        ids = [row[0] for row in conn.execute("SELECT agent_id FROM fa_agent JOIN fa_model m USING (model_id)"
                                              " WHERE m.name = 'event'")]
        while not over.wait(1 / OBSERVATIONS):
            conn.execute("SELECT fa_observe(%s, %s::int[])", (random.choice(ids), [random.randrange(16)]))


def largest_memory(pids: list[int]) -> float:
    sizes = [0]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                sizes += [int(line.split()[1]) for line in file if line.startswith("RssAnon")]
        except FileNotFoundError:       # it has just left
            pass
    return max(sizes) / 1024


def take_sample(conn: psycopg.Connection, start: float, steps: int, last: float) -> tuple[Sample, int]:
    pids = [row[0] for row in conn.execute("SELECT pid FROM fa_worker WHERE pid IS NOT NULL")]
    tables = conn.execute("SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(%s::text[]) t", (TABLES,)).fetchone()[0]
    now_steps, errors, p99 = conn.execute("SELECT sum(steps)::bigint, sum(errors)::bigint, coalesce(max(p99), 0)"
                                          " FROM fa_schedule_status").fetchone()
    now = time.monotonic()
    return Sample((now - start) / 3600, largest_memory(pids), len(pids), float(tables) / 1e6, p99, (now_steps - steps) / (now - last),
                  errors), now_steps


def quarter(samples: list[Sample], which: int, field: str) -> float:
    part = samples[which * len(samples) // 4:(which + 1) * len(samples) // 4]
    return statistics.median(getattr(sample, field) for sample in part)


def verdicts(samples: list[Sample]) -> list[tuple[str, float, float, bool]]:
    """What, in the second quarter, in the last, flat."""
    found = []
    for field in GROWTH:
        early, late = quarter(samples, 1, field), quarter(samples, 3, field)
        found.append((field, early, late, late <= early * GROWTH[field] + 0.5))
    return found


def draw(samples: list[Sample], found: list[tuple[str, float, float, bool]]) -> str:
    figure, axes = pyplot.subplots(5, 1, sharex=True, figsize=(9, 11), layout="constrained")
    for axis, (field, title) in zip(axes, (("memory", "memory of the largest background process, MB"),
                                           ("processes", "background processes"), ("tables", "tables and indexes, MB"),
                                           ("p99", "from due to committed, 99 of 100 steps, ms"), ("rate", "steps a second"))):
        axis.plot([sample.hours for sample in samples], [getattr(sample, field) for sample in samples], linewidth=1.2)
        axis.set_ylim(bottom=0)
        axis.set_title(title, loc="left", fontsize=11)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("hours")
    out = io.StringIO()
    figure.savefig(out, format="svg")
    rows = "".join(f"<tr><td>{name}</td><td>{early:.2f}</td><td>{late:.2f}</td><td>{'flat' if flat else 'GROWS'}</td></tr>"
                   for name, early, late, flat in found)
    return ("<!doctype html><meta charset=utf-8><title>fa_agents: soak</title><style>body{font:15px sans-serif;max-width:60em;"
            "margin:2em auto}td,th{padding:.2em 1em;text-align:right}td:first-child{text-align:left}</style>"
            f"<h1>{len(MODELS) * AGENTS:,} agents at work for {samples[-1].hours:.2f} hours</h1><table><tr><th></th><th>second quarter"
            f"</th><th>last quarter</th><th></th></tr>{rows}</table>{out.getvalue()[out.getvalue().index('<svg'):]}")


def main() -> int:
    hours = float(os.environ.get("HOURS") or 0.1)
    pause = max(hours * 3600 / SAMPLES, 0.5)
    over = threading.Event()
    samples: list[Sample] = []
    with connect() as conn:
        set_up(conn)
        traffic = threading.Thread(target=observe, args=(over,), daemon=True)
        traffic.start()
        start = last = time.monotonic()
        steps = 0
        while time.monotonic() - start < hours * 3600:
            time.sleep(pause)
            sample, steps = take_sample(conn, start, steps, last)
            last = time.monotonic()
            samples.append(sample)
            if len(samples) % 10 == 0:
                print(f"{sample.hours:.3g} of {hours:g} hours: {sample.rate:,.0f} steps/s, {sample.memory:.1f} MB in one of"
                      f" {sample.processes}, tables {sample.tables:.1f} MB, p99 {sample.p99:.1f} ms, {sample.errors} errors", flush=True)
        over.set()
        traffic.join(5)
    found = verdicts(samples)
    (TARGET / "soak.json").write_text(json.dumps([dataclasses.asdict(sample) for sample in samples]), encoding="utf-8")
    (TARGET / "soak.html").write_text(draw(samples, found), encoding="utf-8")
    for name, early, late, flat in found:
        print(f"{name}: {early:.2f} in the second quarter, {late:.2f} in the last: {'flat' if flat else 'GROWS'}")
    print("Written to build/bench/soak.html.")
    return 0 if all(flat for *_, flat in found) and samples[-1].errors == 0 else 1


if __name__ == "__main__":
    sys.exit(main())

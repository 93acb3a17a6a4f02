"""What the scenarios share: connections, equal rows to compare with, pgbench, taking turns, and results.

A scenario is a module in scenarios/ with a docstring, whose first line says what it measures, and a function run(bench). It
gets a Bench in an empty database of its own that has the extension, and reports each figure by bench.report().
"""
from __future__ import annotations

import dataclasses
import glob
import operator
import os
import re
import statistics
import subprocess
import tempfile
import time
from typing import Any, Callable, Sequence

import psycopg

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclasses.dataclass
class Goal:
    """What a figure should reach: its value, its ratio to the peer, or how many times better it is. Goal("times", ">=", 10)."""
    of: str
    compare: str
    limit: float

    def met(self, result: Result) -> bool:
        return COMPARE[self.compare](getattr(result, self.of), self.limit)

    def __str__(self) -> str:
        return f"{self.of} {self.compare} {self.limit:g}"


@dataclasses.dataclass
class Result:
    """One figure: medians, with the least and the most of all rounds.

    ratio is ours divided by the peer's; times says how many times better we are, whichever way is better.
    """
    name: str
    value: float
    unit: str
    better: str                         # "higher" or "lower"
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    times: float | None = None
    goal: str | None = None
    met: bool | None = None
    rounds: int = 1
    value_min: float | None = None
    value_max: float | None = None
    peer_min: float | None = None
    peer_max: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    note: str | None = None             # what a reader of the table must know


def number(value: float | None) -> str:
    """Four digits that matter."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}"


class Bench:
    def __init__(self, scenario: str, dbname: str, quick: bool, results: list[Result]):
        self.scenario = scenario
        self.dbname = dbname
        self.quick = quick
        self.results = results
        self.conn = self.connect()
        self.conn.execute("CREATE EXTENSION fa_agents")

    # ---------- the database ----------

    def sibling(self, name: str) -> Bench:
        """Another database beside this one, with the extension; whoever asks closes it. It goes with the server."""
        self.execute(f"CREATE DATABASE {self.dbname}_{name}")
        return Bench(self.scenario, f"{self.dbname}_{name}", self.quick, self.results)

    def connect(self, **settings: str) -> psycopg.Connection:
        """A session that commits each statement."""
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return psycopg.connect(dbname=self.dbname, autocommit=True, options=options)

    def dsn(self) -> str:
        """For programs in Python: the rest stands in the environment."""
        return f"dbname={self.dbname}"

    def url(self, dbname: str) -> str:
        """For programs that read no environment."""
        return "postgresql://{PGUSER}@/{0}?host={PGHOST}&port={PGPORT}".format(dbname, **os.environ)

    def close(self) -> None:
        self.conn.close()

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> psycopg.Cursor:
        return self.conn.execute(sql, parameters, prepare=False)

    def one(self, sql: str, parameters: Sequence[Any] | None = None) -> Any:
        """The first column of the first row."""
        return self.execute(sql, parameters).fetchone()[0]

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    # ---------- agents, and equal rows ----------

    def create_agents(self, count: int, spec: str = "fa_spec_grid(5, 5)", model: str = "grid") -> None:
        """spec is an expression of SQL."""
        self.execute(f"SELECT fa_model_create('{model}', {spec})")
        self.execute("SELECT count(*) FROM fa_agent_create_many(%s, %s)", (model, count))

    def copy_table(self, table: str, copy: str, rows: bool = True) -> None:
        """A plain table that is as table in columns, storage, indexes, fill and rows, down to their place in the pages."""
        options = self.one("SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass", (table,))
        self.execute(f"CREATE TABLE {copy} (LIKE {table} INCLUDING ALL EXCLUDING GENERATED)" + (f" WITH ({options})" if options else ""))
        if rows:
            self.execute(f"INSERT INTO {copy} SELECT * FROM {table} ORDER BY ctid")

    def settle(self, *tables: str) -> None:
        """Dead rows gone, statistics fresh, nothing left to write: both sides begin alike."""
        for table in tables:
            self.execute(f"VACUUM ANALYZE {table}")
        self.execute("CHECKPOINT")

    # ---------- measuring ----------

    def timed(self, call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def take_turns(self, rounds: int, sides: Sequence[Callable[[], float]],
                   between: Callable[[], Any] = lambda: None) -> list[list[float]]:
        """What each side measures in each round, after one round that does not count.

        The sides take turns, and who begins changes from round to round, so that a machine whose speed drifts treats them
        alike.
        """
        taken: list[list[float]] = [[] for _ in sides]
        for i in range(rounds + 1):
            order = range(len(sides)) if i % 2 else reversed(range(len(sides)))
            for side in order:
                between()
                value = sides[side]()
                if i > 0:
                    taken[side].append(value)
        return taken

    def pgbench(self, scripts: str | Sequence[str], clients: int = 1, seconds: float | None = None,
                transactions: int | None = None, settings: dict[str, str] | None = None,
                rate: float | None = None) -> tuple[float, list[float]]:
        """Transactions a second, as many as can be or rate; and the milliseconds of each one, where their number was asked for."""
        scripts = [scripts] if isinstance(scripts, str) else scripts
        with tempfile.TemporaryDirectory() as folder:
            command = ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, os.cpu_count() or 1))]
            for i, script in enumerate(scripts):
                path = os.path.join(folder, f"{i}.sql")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(script)
                command += ["-f", path]
            if rate is not None:
                command += ["-R", str(rate)]
            if transactions is None:
                command += ["-T", str(seconds)]
            else:
                command += ["-t", str(transactions), "-l", "--log-prefix", os.path.join(folder, "log")]
            options = " ".join(f"-c {name}={value}" for name, value in (settings or {}).items())
            done = subprocess.run([*command, self.dbname], env={**os.environ, "PGOPTIONS": options},
                                  capture_output=True, text=True)
            rate = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
            # a client that failed leaves a rate of the others
            if done.returncode != 0 or rate is None or "ERROR" in done.stderr:
                raise RuntimeError(f"pgbench failed: {done.stderr.strip()}")
            latencies = []
            for path in glob.glob(os.path.join(folder, "log.*")):
                with open(path, encoding="utf-8") as file:
                    latencies += [float(line.split()[2]) / 1000 for line in file]
            return float(rate.group(1)), latencies

    # ---------- results ----------

    def progress(self, text: str) -> None:
        print(f"  {self.scenario}: {text}", flush=True)

    def report(self, name: str, values: Sequence[float], unit: str, better: str, peer: str | None = None,
               peers: Sequence[float] | None = None, goal: Goal | None = None, note: str | None = None) -> None:
        """Adds a figure. values and peers were taken in turns, so the ratio is that of each round, and its median counts."""
        name = f"{self.scenario}/{name}" if name else self.scenario
        result = Result(name, statistics.median(values), unit, better, rounds=len(values), value_min=min(values),
                        value_max=max(values), note=note)
        if peers:
            ratios = [ours / theirs for ours, theirs in zip(values, peers)]
            result.peer, result.peer_value = peer, statistics.median(peers)
            result.peer_min, result.peer_max = min(peers), max(peers)
            result.ratio = statistics.median(ratios)
            result.times = result.ratio if better == "higher" else 1 / result.ratio
            result.ratio_min, result.ratio_max = min(ratios), max(ratios)
        if goal:
            result.goal, result.met = str(goal), goal.met(result)
        self.results.append(result)
        spread = f" ({number(min(values))} to {number(max(values))})" if len(values) > 1 else ""
        against = "" if result.ratio is None else f", peer {number(result.peer_value)}, {result.times:.2f} times"
        print(f"  {name}: {number(result.value)} {unit}{spread}{against}", flush=True)

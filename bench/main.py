"""Runs the scenarios one after another, prints a table, and writes results/latest.json and report.html.

Called by bench/run, in a private cluster that psycopg and pgbench find by their environment.
"""
from __future__ import annotations

import dataclasses
import datetime
import importlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import traceback

import psycopg

import report
from common import Bench, Result, number

HERE = pathlib.Path(__file__).resolve().parent
SETTINGS = ["shared_buffers", "wal_level", "fsync", "full_page_writes", "checkpoint_timeout", "autovacuum"]


def scenario_names() -> list[str]:
    names = sorted(path.stem for path in (HERE / "scenarios").glob("[a-z]*.py"))
    only = [name.split("/")[0] for name in os.environ.get("ONLY", "").replace(",", " ").split()]
    unknown = [name for name in only if name not in names]
    if unknown:
        sys.exit(f"bench: there is no scenario {', '.join(unknown)}; there are {', '.join(names)}")
    return only or names


def cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe_machine(conn: psycopg.Connection, quick: bool) -> dict:
    """An entry of the list of results like the others, so that every reader of the list can take it."""
    return {
        "name": "machine", "value": os.cpu_count(), "unit": "cores", "peer": None, "peer_value": None, "ratio": None,
        "cpu": cpu_model(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "postgresql": conn.execute("SHOW server_version").fetchone()[0],
        "extension": conn.execute("SELECT default_version FROM pg_available_extensions"
                                  " WHERE name = 'fa_agents'").fetchone()[0],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "load_at_start": round(os.getloadavg()[0], 2),
        "quick": quick,
        "settings": {name: conn.execute(f"SHOW {name}").fetchone()[0] for name in SETTINGS},
    }


def warm_wal(conn: psycopg.Connection, megabytes: int) -> None:
    """Leaves segments to recycle, as a server that has run for a while has them."""
    conn.execute("SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1000000)) FROM generate_series(1, %s)",
                 (megabytes,))
    conn.execute("CHECKPOINT")


def run_in_own_server(name: str, settings: list[str], results: list[Result]) -> bool:
    """For a scenario whose server has settings of its own, by this program again; its results come back in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "results.json")
        options = [word for setting in settings for word in ("-c", setting)]
        # made of the installation as it is now, and not of this server's copy of it
        work = os.environ["FA_WORK"]
        env = {**os.environ, "BENCH_OWN_SERVER": str(path), "ONLY": name,
               "PATH": ":".join(folder for folder in os.environ["PATH"].split(":") if not folder.startswith(work))}
        del env["PG_CONFIG"]
        done = subprocess.run([HERE.parent / "scripts" / "private-cluster", "--conf", HERE / "postgresql.conf", *options, "--",
                               sys.executable, "-B", __file__], env=env)
        if path.exists():
            results += [Result(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        return done.returncode == 0


def run_here(name: str, quick: bool, path: str) -> int:
    """One scenario, in the server that was started for it."""
    results: list[Result] = []
    with psycopg.connect(autocommit=True) as conn:
        warm_wal(conn, 64 if quick else 1024)
        done = run_scenario(conn, name, "       in a server of its own:", quick, results)
    pathlib.Path(path).write_text(json.dumps([dataclasses.asdict(result) for result in results]), encoding="utf-8")
    return 0 if done else 1


def run_scenario(conn: psycopg.Connection, name: str, where: str, quick: bool, results: list[Result]) -> bool:
    """where says how far the bench has come. False if it failed; what it had measured until then counts."""
    module = importlib.import_module(f"scenarios.{name}")
    print(f"\n{where} {name}: {module.__doc__.strip().splitlines()[0]}", flush=True)
    packages = getattr(module, "PACKAGES", [])
    if packages:
        subprocess.run([HERE.parent / "scripts" / "install-deps", *packages], check=True)
    settings = getattr(module, "SETTINGS", [])
    if settings and "BENCH_OWN_SERVER" not in os.environ:
        return run_in_own_server(name, settings, results)
    if getattr(module, "COMPARATORS", False):
        subprocess.run([HERE / "comparators" / "install"], check=True)
    dbname = f"bench_{name}"
    conn.execute(f"CREATE DATABASE {dbname}")
    bench = Bench(name, dbname, quick, results)
    start = time.perf_counter()
    try:
        module.run(bench)
        return True
    except Exception:
        traceback.print_exc()
        return False
    finally:
        bench.close()
        conn.execute(f"DROP DATABASE {dbname} WITH (FORCE)")
        print(f"  done in {time.perf_counter() - start:.0f} s", flush=True)


def print_table(results: list[Result]) -> None:
    """Fits 90 columns. times: how many times better than the peer."""
    print(f"\n{'':31} {'ours':>9} {'peer':>9} {'unit':<8} {'times':>6} goal")
    for result in results:
        times = "" if result.times is None else f"{result.times:.2f}"
        goal = "" if result.goal is None else result.goal + (" ok" if result.met else " MISSED")
        line = (f"{result.name:31} {number(result.value):>9} {number(result.peer_value):>9} {result.unit:<8} {times:>6}"
                f" {goal}")
        print(line.rstrip())


def main() -> int:
    quick = os.environ.get("BENCH_QUICK", "") not in ("", "0")
    names = scenario_names()
    if "BENCH_OWN_SERVER" in os.environ:
        return run_here(names[0], quick, os.environ["BENCH_OWN_SERVER"])
    path = HERE / "results" / ("quick.json" if quick else "latest.json")
    results: list[Result] = []
    failed = []
    start = time.perf_counter()
    with psycopg.connect(autocommit=True) as conn:
        machine = describe_machine(conn, quick)
        if machine["settings"]["checkpoint_timeout"] != "1d":
            sys.exit("bench: the server does not have the settings of bench/postgresql.conf; start by make bench")
        print(f"{machine['cpu']}, {machine['value']} cores, PostgreSQL {machine['postgresql']}", flush=True)
        if machine["load_at_start"] > 0.5:
            print(f"The machine is busy (load {machine['load_at_start']}): the figures will be noisy.", flush=True)
        warm_wal(conn, 64 if quick else 1024)
        for i, name in enumerate(names, 1):
            if not run_scenario(conn, name, f"[{i}/{len(names)}]", quick, results):
                failed.append(name)
    print_table(results)
    path.parent.mkdir(exist_ok=True)
    entries = [machine] + [dataclasses.asdict(result) for result in results]
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")
    page = path.with_suffix(".html") if quick else HERE / "report.html"
    report.write(path, page)
    print(f"\nWritten to {path.relative_to(HERE.parent)} and {page.relative_to(HERE.parent)}, after"
          f" {(time.perf_counter() - start) / 60:.1f} minutes.")
    if failed:
        print(f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

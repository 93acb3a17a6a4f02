"""Runs each hot path, and draws where its time goes: build/bench/flame/PATH.svg.

Called by bench/flame/run, in a private cluster. Stacks come from perf, sampled in the session's own server process while it
works; where perf may not be used, callgrind counts instructions of a server in single-user mode.
"""
from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import psycopg

import draw
import stacks

TOP = pathlib.Path(__file__).resolve().parents[2]
OUT = TOP / "build" / "bench" / "flame"
SECONDS = 6
AGENTS = 20_000
# at last segments of the log to recycle: to make a new one would be most of what is seen
SETUP = f"""
CREATE EXTENSION fa_agents;
SELECT fa_model_create('grid', fa_spec_grid(5, 5));
SELECT fa_model_create('tmaze', fa_spec_tmaze());
SELECT count(*) FROM fa_agent_create_many('grid', {AGENTS});
SELECT count(*) FROM fa_agent_create_many('tmaze', 1000);
SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent));
SELECT pg_logical_emit_message(false, 'flame', repeat('x', 1000000)) FROM generate_series(1, 512);
CHECKPOINT;
"""
# what is run again and again, and how often callgrind runs it
PATHS = {
    "step": (f"SELECT * FROM fa_step((random() * {AGENTS - 1})::int + 1, ARRAY[(random() * 24)::int])", 2000),
    "step_many": (f"SELECT count(*) FROM fa_step_many((SELECT array_agg(i) FROM generate_series(1, {AGENTS}) i),"
                  f" (SELECT array_agg(ARRAY[i % 25]) FROM generate_series(1, {AGENTS}) i))", 1),
    "run_many": (f"SELECT count(*) FROM fa_run_many((SELECT array_agg(i) FROM generate_series({AGENTS + 1}, {AGENTS + 1000}) i),"
                 " 20)", 1),
}


def own_functions() -> frozenset[str]:
    """Of the extension's library, those that are not exported too."""
    listed = subprocess.run(["nm", "--defined-only", TOP / "fa_agents.so"], capture_output=True, text=True, check=True).stdout
    return frozenset(line.split()[-1] for line in listed.splitlines() if line.split()[-2] in "tT")


def perf_works() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", f"{folder}/data", "--", "true"], capture_output=True,
                           check=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def by_perf(statement: str) -> stacks.Node:
    """Debug information, not frame pointers, leads from one frame to the next: our kernel is built without them."""
    stop = threading.Event()

    def work(conn: psycopg.Connection) -> None:
        while not stop.is_set():
            conn.execute(statement, prepare=True)

    with tempfile.TemporaryDirectory() as folder, psycopg.connect(autocommit=True) as conn:
        conn.execute(statement, prepare=True)
        worker = threading.Thread(target=work, args=(conn,))
        worker.start()
        try:
            subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "397", "--call-graph", "dwarf,16384", "-p",
                            str(conn.info.backend_pid), "-o", f"{folder}/data", "--", "sleep", str(SECONDS)], check=True)
        finally:
            stop.set()
            worker.join()
        script = subprocess.run(["perf", "script", "--no-inline", "-F", "ip,sym,dso", "-i", f"{folder}/data"], check=True,
                                capture_output=True, text=True).stdout
    return stacks.tree_of_stacks(stacks.perf_stacks(script.splitlines()))


def by_callgrind(statement: str, times: int) -> stacks.Node:
    """The server must be down. It refuses to run as root."""
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    out = pathlib.Path(os.environ["FA_WORK"], "callgrind.out")
    server = subprocess.run(["which", "postgres"], capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run([*other, "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", server, "--single", "-D",
                           os.environ["PGDATA"], "postgres"], input=f"{statement}\n" * times, capture_output=True, text=True)
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise RuntimeError(f"callgrind failed: {done.stderr[-2000:]}")
    with open(out, encoding="utf-8") as file:
        return stacks.tree_of_graph(stacks.callgrind_graph(file))


def main() -> int:
    OUT.mkdir(parents=True, exist_ok=True)
    with psycopg.connect(autocommit=True) as conn:
        for statement in SETUP.strip().split("\n"):
            conn.execute(statement)
    sampled = perf_works()
    print(f"by {'perf' if sampled else 'callgrind, as perf may not be used here'}", flush=True)
    if not sampled:
        other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*other, "pg_ctl", "stop", "-D", os.environ["PGDATA"], "-m", "fast"], check=True, capture_output=True)
    ours = own_functions()
    for name, (statement, times) in PATHS.items():
        tree = by_perf(statement) if sampled else by_callgrind(statement, times)
        what = f"{tree.total:,.0f} {'samples' if sampled else 'instructions'}"
        (OUT / f"{name}.svg").write_text(draw.flame(tree, f"{name}: {what}", ours), encoding="utf-8")
        print(f"build/bench/flame/{name}.svg: {what}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

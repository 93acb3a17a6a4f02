"""agents that step by themselves in background workers: how fast, how soon, and at what cost to others

Agents of the 5x5 grid with horizon 1 unless it says otherwise, each step committed and durable. throughput: agents that are
always due, with one worker and with two, against one session that calls fa_step_many for 2,000 agents a commit; the note says
who used the processors. parallel: fa_run_many with and without a second process. latency: from the observation's transaction
to the committed step, by the histogram that the workers keep. schedule: each agent once in ten seconds, beside pgbench -S,
which has the machine to itself in the other rounds. idle: processor time of all our processes with nothing due. peer: what
else keeps a schedule, a job of pg_cron that calls fa_step_many for all agents, and a Python worker (comparators/worker.py)
with 2,000 agents a commit.
"""
from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

import kernel_cases
from common import Bench, Goal
from comparator import Crew

COMPARATORS = True
VERSION = subprocess.run(["pg_config", "--version"], check=True, capture_output=True, text=True).stdout
PACKAGES = [f"postgresql-{re.search('[0-9]+', VERSION)[0]}-cron"]
DATABASE = "bench_workers"
SETTINGS = ["shared_preload_libraries=fa_agents,pg_cron", "max_worker_processes=16", f"cron.database_name={DATABASE}",
            "cron.use_background_workers=on"]
CASE = "grid5x5_H1"
BATCH = 2000
TICKS = os.sysconf("SC_CLK_TCK")


# ---------- the workers ----------

def set_workers(bench: Bench, count: int) -> None:
    for name in ("fa_agents.max_workers", "fa_agents.min_workers"):
        bench.execute(f"ALTER SYSTEM SET {name} = {count}")
    bench.execute("SELECT pg_reload_conf()")


def wait_until(bench: Bench, condition: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not bench.one(f"SELECT {condition}"):
        if time.monotonic() > end:
            raise RuntimeError(f"it did not come to this: {condition}")
        time.sleep(0.02)


def counted(bench: Bench) -> int:
    """Steps by workers in this database."""
    return bench.one("SELECT coalesce(sum(steps), 0)::bigint FROM fa_schedule_counters()")


def processes(bench: Bench) -> Iterator[tuple[int, str, float]]:
    """The server's processes: id, what it is, and its processor time until now in seconds."""
    for pid, kind in bench.execute("SELECT pid, backend_type FROM pg_stat_activity").fetchall():
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                fields = file.read().rpartition(")")[2].split()
        except FileNotFoundError:
            continue
        yield pid, kind, (int(fields[11]) + int(fields[12])) / TICKS


def seconds_by_process(bench: Bench) -> dict[str, float]:
    """Processor time of the server's processes until now, by what they are."""
    taken: dict[str, float] = {}
    for _, kind, spent in processes(bench):
        taken[kind] = taken.get(kind, 0) + spent
    return taken


# ---------- what is measured ----------

def throughput(bench: Bench) -> list[float]:
    """Returns the rates of two workers."""
    agents, seconds = bench.size(100_000, 2000), bench.size(30, 5) / 10
    bench.create_agents(agents)
    ids = bench.one("SELECT array_agg(agent_id ORDER BY agent_id) FROM fa_agent")
    shares: list[str] = []
    bench.execute("SELECT fa_schedule_create('busy', 'grid', '1 ms')")

    def by_workers(count: int) -> float:
        set_workers(bench, count)
        bench.execute("SELECT fa_worker_start()")
        wait_until(bench, f"count(*) = {count} FROM fa_worker WHERE role = 'worker' AND steps > 0")
        before, at, start = counted(bench), seconds_by_process(bench), time.perf_counter()
        time.sleep(seconds)
        spent = time.perf_counter() - start
        rate = (counted(bench) - before) / spent
        if count == 2:
            shares[:] = [f"{kind} {100 * (now - at.get(kind, 0)) / spent:.0f} %" for kind, now in
                         sorted(seconds_by_process(bench).items()) if now - at.get(kind, 0) > 0.02 * spent]
        bench.execute("SELECT fa_worker_drain()")
        return rate

    def by_session() -> float:
        made, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            batch = ids[made % agents:made % agents + BATCH]
            bench.execute("SELECT count(*) FROM fa_step_many(%s)", (batch,))
            made += len(batch)
        return made / (time.perf_counter() - start)

    bench.execute("SELECT fa_worker_drain()")
    one, two, session = bench.take_turns(bench.size(3, 1), [lambda: by_workers(1), lambda: by_workers(2), by_session],
                                         lambda: bench.execute("VACUUM fa_belief"))
    bench.report("throughput/1_worker", one, "steps/s", "higher", "fa_step_many", session, Goal("ratio", ">=", 0.8))
    bench.report("throughput/2_workers", two, "steps/s", "higher", "one worker", one, Goal("times", ">=", 1.7),
                 "of a core each: " + ", ".join(shares))
    bench.execute("SELECT fa_schedule_drop('busy')")
    return two


def parallel(bench: Bench) -> None:
    agents, steps = bench.size(1000, 200), bench.size(1000, 50)
    spec = (kernel_cases.specs() / "tmaze_H3.json").read_text(encoding="utf-8")
    bench.execute("SELECT fa_model_create('maze', %s)", (spec,))
    ids = bench.one("SELECT array_agg(id) FROM fa_agent_create_many('maze', %s) AS id", (agents,))

    def run(others: int) -> float:
        # the rows of all steps stay in memory: else the disk takes part
        with bench.connect(**{"fa_agents.max_parallel": str(others), "work_mem": "512MB"}) as conn:
            return agents * steps / bench.timed(lambda: conn.execute("SELECT count(*) FROM fa_run_many(%s, %s)", (ids, steps)))

    two, one = bench.take_turns(bench.size(5, 1), [lambda: run(1), lambda: run(0)])
    bench.report("parallel", two, "steps/s", "higher", "one process", one, Goal("times", ">=", 1.8))


def latency(bench: Bench) -> None:
    agents, seconds = bench.size(10_000, 500), bench.size(60, 2)
    bench.execute("SELECT fa_model_create('event', fa_spec_grid(5, 5))")
    first = bench.one("SELECT min(id) FROM fa_agent_create_many('event', %s) AS id", (agents,))
    bench.execute("SELECT fa_schedule_create('event', 'event')")
    bench.execute("SELECT fa_worker_start()")
    bench.progress(f"{seconds} s of observations")
    script = f"\\set id random({first}, {first + agents - 1})\n\\set outcome random(0, 24)\nSELECT fa_observe(:id, ARRAY[:outcome]::int[]);"
    rate, _ = bench.pgbench(script, 4, seconds, rate=2000)
    wait_until(bench, "count(*) = 0 FROM fa_observation")
    p50, p99 = bench.execute("SELECT p50, p99 FROM fa_schedule_status WHERE name = 'event'").fetchone()
    note = f"{rate:.0f} observations a second came"
    bench.report("latency/p50", [p50], "ms", "lower", goal=Goal("value", "<", 10), note=note)
    bench.report("latency/p99", [p99], "ms", "lower", goal=Goal("value", "<", 50), note=note)
    bench.execute("SELECT fa_schedule_drop('event')")


def schedule(bench: Bench) -> None:
    agents, seconds = bench.size(50_000, 500), bench.size(12, 2)
    every = bench.size(10, 1)
    bench.execute("SELECT fa_model_create('ten', fa_spec_grid(5, 5))")
    bench.execute("SELECT count(*) FROM fa_agent_create_many('ten', %s)", (agents,))
    subprocess.run(["pgbench", "-i", "-q", "-s", "10", bench.dbname], check=True, capture_output=True)
    bench.execute(f"SELECT fa_schedule_create('ten', 'ten', '{every} s', deadline => '1 s')")
    bench.execute("SELECT fa_schedule_pause('ten')")
    reads = "\\set aid random(1, 1000000)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;"

    def traffic(beside: bool) -> float:
        bench.execute(f"SELECT fa_schedule_{'resume' if beside else 'pause'}('ten')")
        return bench.pgbench(reads, 2, seconds)[0]

    ours, alone = bench.take_turns(bench.size(2, 1), [lambda: traffic(True), lambda: traffic(False)])
    late, made = bench.execute("SELECT late, steps FROM fa_schedule_status WHERE name = 'ten'").fetchone()
    bench.report("schedule/traffic", ours, "reads/s", "higher", "without agents", alone, Goal("ratio", ">=", 0.8))
    bench.report("schedule/late", [late], "steps", "lower", goal=Goal("value", "<=", 0), note=f"of {made:,} steps, by over 1 s")
    bench.execute("SELECT fa_schedule_drop('ten')")


def idle(bench: Bench) -> None:
    agents, seconds = bench.size(1_000_000, 1000), bench.size(60, 2)
    bench.progress(f"making {agents:,} agents")
    bench.execute("SELECT fa_model_create('idle', fa_spec_grid(5, 5))")
    bench.execute("SELECT count(*) FROM fa_agent_create_many('idle', %s)", (agents,))
    set_workers(bench, 0)
    bench.execute("ALTER SYSTEM RESET fa_agents.max_workers")
    bench.execute("SELECT pg_reload_conf()")
    bench.execute("SELECT fa_schedule_create('idle', 'idle', '1 day')")
    bench.progress(f"{seconds} s of nothing")
    time.sleep(2)
    # processes end when nothing is due, so each is looked at while it is there
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for look in range(seconds + 1):
        for pid, kind, taken in processes(bench):
            if kind.startswith("fa_agents"):
                first.setdefault(pid, taken if look == 0 else 0)
                last[pid] = taken
        time.sleep(1)
    share = 100 * sum(last[pid] - first[pid] for pid in last) / seconds
    bench.report("idle", [share], "% of a core", "lower", goal=Goal("value", "<", 0.1),
                 note=f"{agents:,} agents; the clock counts {1000 / TICKS:.0f} ms")
    bench.execute("SELECT fa_schedule_drop('idle')")


def peers(bench: Bench, two: list[float]) -> None:
    by_cron = cron(bench)
    bench.report("peer/pg_cron", two, "steps/s", "higher", "fa_step_many by pg_cron", [by_cron] * len(two), Goal("times", ">=", 1.5))
    agents = bench.size(20_000, 2000)
    with Crew("worker", 1) as crew:
        crew.ask("prepare", [{"dsn": bench.dsn(), "agents": agents, "case": CASE, "batch": BATCH}])
        worker = crew.members[0]
        worker.ask("create")
        rates = [worker.ask("batched", count=BATCH, rounds=bench.size(20, 2), table="bytes") for _ in two]
    bench.report("peer/python", two, "steps/s", "higher", "psycopg and pymdp JAX", rates, Goal("times", ">=", 10))


def cron(bench: Bench) -> float:
    """Steps a second while a job runs; it begins with the minute."""
    bench.progress("waiting for pg_cron's next minute")
    bench.execute("CREATE EXTENSION pg_cron")
    bench.execute("SELECT cron.schedule('* * * * *', $$SELECT count(*) FROM fa_step_many((SELECT array_agg(agent_id) FROM fa_agent"
                  " JOIN fa_model m USING (model_id) WHERE m.name = 'grid'))$$)")
    done = "cron.job_run_details WHERE status = 'succeeded'"
    wait_until(bench, f"count(*) > 0 FROM {done}", 150)
    bench.execute("SELECT cron.unschedule(jobid) FROM cron.job")
    return bench.one(f"SELECT (count(*) / (SELECT extract(epoch FROM min(end_time - start_time)) FROM {done}))::float8"
                     " FROM fa_agent JOIN fa_model m USING (model_id) WHERE m.name = 'grid'")


def run(bench: Bench) -> None:
    two = throughput(bench)
    parallel(bench)
    latency(bench)
    schedule(bench)
    peers(bench, two)
    idle(bench)

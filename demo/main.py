"""The demo's job: three standard tasks, a thousand agents each, in closed loop with their worlds.

Called by demo/run, in a private cluster that psycopg and psql find by their environment. Prints what happened and writes the
page (page.py draws it) from a report of this layout:

    {"version", "server", "date", "connections", "tasks": [the fields of a Task, and
        agents, reached (share of trials), steps_to_goal, vfe, policies, rate (steps a second),
        arrived: [share of trials at the goal after n steps], course: [{n, mean, low, high} of the free energy],
        agent_id, steps: one trial of one agent, watched: [{step, observation, action, does, belief, state (the true one),
            vfe, first: {action: probability}, plans: for each first move the best plan, as fa_explain has it, with names}]]}
"""
from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import psycopg

import page
from common import row, write


@dataclasses.dataclass
class Task:
    model: str
    title: str
    spec: str                   # an SQL expression
    until: dict                 # a trial ends when this holds ...
    at_goal: str                # ... which this aggregate tells afterwards; %(max_steps)s may stand in it
    max_steps: int              # ... or after so many steps
    ask: int                    # the step of the watched trial whose plans are shown
    cell: int                   # pixels of a place in the pictures
    places: dict[str, tuple[int, int]]
    marks: dict[str, str]
    also: dict[str, str]        # factors shown as bars
    story: str
    legend: str
    why: str
    surprise: str
    shortfall: str = ""         # why some do not reach the goal
    trials: int = 5


def grid_places(rows: int, columns: int) -> dict[str, tuple[int, int]]:
    return {f"r{r}c{c}": (c, r) for r in range(rows) for c in range(columns)}


TASKS = [
    Task("tmaze", "T-maze", "fa_spec_tmaze()", {"observation": {"reward": "reward"}}, "bool_or(observation[2] = 1)", 20,
         ask=1, cell=50, also={"context": "where is the reward?"},
         places={"left": (0, 0), "middle": (1, 0), "right": (2, 0), "centre": (1, 1), "cue": (1, 2)},
         marks={"left": "left", "middle": "middle", "right": "right", "centre": "centre", "cue": "cue"},
         story="One arm of a T holds a reward, the other a punishment, and the agent does not know which. A cue at the foot, in the "
               "other direction, tells it rightly 95 times in 100. Whoever only wants the reward would guess; an agent that also "
               "wants to know looks first.",
         legend="The bar below is what it believes about the arms.",
         why="At an arm, the reward and the punishment are as likely as each other, and the punishment weighs more. The cue brings "
             "nothing but information, and that is enough.",
         surprise="The cue itself surprises: nobody could know which arm it would name. An arm that does not hold what the cue said "
                  "surprises much more."),
    Task("cue_chain", "Cue chaining", "fa_spec_cue_chain()", {"observation": {"reward": "cheese"}},
         "bool_or(observation[4] = 1)", 18,
         ask=1, cell=26, also={"second_cue": "which second cue speaks?", "context": "where is the cheese?"},
         places=grid_places(5, 7),
         marks={"r2c0": "1", "r0c2": "L1", "r1c3": "L2", "r3c3": "L3", "r4c2": "L4", "r1c5": "top", "r3c5": "btm"},
         story="A cheese lies at the place marked top or at the one marked btm, and a shock at the other. A first cue (1) tells which "
               "of four second cues (L1 to L4) speaks; that one tells where the cheese is. So the agent has to plan for knowledge "
               "that only leads to other knowledge.",
         legend="The bars below are what it believes about the cues and the cheese.",
         why="The way to the first cue is worth its information; no plan of this length reaches the cheese.",
         surprise="Each cue surprises once, and in between all goes as expected.",
         shortfall="Who hears at L1 that the cheese is at the bottom stands six steps from it, two more than its plans are long: "
                   "none of them ends any better than another, and the agent does not get away.",
         trials=3),
    Task("grid", "5x5 grid",
         "fa_spec_grid(5, 5, noise => 0.2, success => 0.9)"
         " || '{\"use_inductive\": true, \"inductive_depth\": 9, \"H\": [{\"r4c4\": 1}]}'",
         {"state": {"location": "r4c4"}}, "count(*) < %(max_steps)s", 40,
         ask=2, cell=30, also={}, places=grid_places(5, 5), marks={"r4c4": "goal"},
         story="The agent starts anywhere on a grid, does not know where, and is to reach the corner. A move fails one time in ten, "
               "and about one time in five it sees another cell than its own: what it believes is all it has to go by. The goal lies beyond its "
               "plan of a single step, so inductive inference tells it which states are nearer. The grid is pymdp's; the wrong "
               "sights are added here.",
         legend="What it sees, named below, may be wrong.",
         why="Nearness is 0 for a step that leads nearer to the goal for certain, and negative otherwise.",
         surprise="At the start any cell could have been seen. Later only wrong sights and failed moves surprise."),
]


CONNECTIONS = min(4, os.cpu_count() or 1)


def main() -> None:
    options = argparse.ArgumentParser(description="run the demo in the server that the environment names")
    options.add_argument("--agents", type=int, default=1000, help="agents of each task")
    options.add_argument("--page", default="demo.html", help="where to write the page")
    args = options.parse_args()
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS fa_agents")
        version, = row(conn, "SELECT fa_version()")
        server = conn.info.parameter_status("server_version").split()[0]
        print(f"fa_agents {version} in PostgreSQL {server}: {len(TASKS)} tasks, {args.agents:,} agents each,\n"
              f"several trials, in closed loop with their worlds, over {CONNECTIONS} connections.\n", flush=True)
        tasks = [run_task(conn, task, args.agents) for task in TASKS]
        print_table(tasks)
        watched = [watch(conn, task) for task in tasks]
        print_agent(watched[0])
        report = {"version": version, "server": server, "date": datetime.date.today().isoformat(), "connections": CONNECTIONS,
                  "tasks": watched}
        write(args.page, page.render(report))
    print(f"\nPictures, with what they mean: {os.path.relpath(args.page)}. Open it in a browser.")


# -------------------------------------------------------------------------------------------------------------- many agents

def run_task(conn: psycopg.Connection, task: Task, agents: int) -> dict:
    """Creates a task's agents, runs their trials a part of the agents at a time, and reads off what happened."""
    conn.execute(f"SELECT fa_model_create(%s, {task.spec})", [task.model])
    ids = [i for i, in conn.execute("SELECT fa_agent_create_many(%s, %s, %s)", [task.model, agents, '{"seed": 1}'])]
    conn.execute("DROP TABLE IF EXISTS run")
    conn.execute("CREATE UNLOGGED TABLE run (agent_id bigint, trial int, step bigint, observation int[], vfe float8)")
    progress = Progress(task.title, agents)
    pool = concurrent.futures.ThreadPoolExecutor(CONNECTIONS)
    try:
        parts = [pool.submit(run_part, task, ids[at:at + 20]) for at in range(0, agents, 20)]
        for part in concurrent.futures.as_completed(parts):
            progress.show(*part.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)      # after an error or Ctrl-C the rest is not wanted
    progress.end()
    return dataclasses.asdict(task) | {"agents": agents, "rate": progress.rate(), "agent_id": ids[0]} | measure(conn, task)


local = threading.local()


def run_part(task: Task, ids: list[int]) -> tuple[int, int]:
    """All trials of some agents, in one statement; returns how many agents and how many steps that was."""
    if not hasattr(local, "conn"):
        local.conn = psycopg.connect(autocommit=True)
    steps = local.conn.execute("INSERT INTO run SELECT agent_id, trial, step, observation, vfe FROM fa_run_many(%s, %s, %s, %s)",
                               [ids, task.max_steps, task.trials, json.dumps(task.until)]).rowcount
    return len(ids), steps


class Progress:
    """A line that is written over and over; where there is no terminal, a line for each quarter."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.live = title, total, sys.stdout.isatty()
        self.done = self.steps = self.quarter = 0
        self.start = self.now = time.monotonic()

    def rate(self) -> float:
        return self.steps / max(self.now - self.start, 1e-9)

    def show(self, agents: int, steps: int) -> None:
        self.done, self.steps, self.now = self.done + agents, self.steps + steps, time.monotonic()
        filled = 24 * self.done // self.total
        line = (f"{self.title:<13}[{'#' * filled}{'.' * (24 - filled)}] {self.done:>5,} agents {self.steps:>8,} steps"
                f" {self.rate():>9,.0f}/s")
        if self.live:
            print("\r" + line, end="", flush=True)
        elif 4 * self.done // self.total > self.quarter:
            self.quarter = 4 * self.done // self.total
            print(line, flush=True)

    def end(self) -> None:
        if self.live:
            print(flush=True)


def measure(conn: psycopg.Connection, task: Task) -> dict:
    """What the steps of all trials amount to."""
    conn.execute("DROP TABLE IF EXISTS trial")
    conn.execute(f"CREATE TEMPORARY TABLE trial AS SELECT agent_id, trial, count(*) AS n, {task.at_goal} AS at_goal"
                 " FROM run GROUP BY agent_id, trial", {"max_steps": task.max_steps})
    reached, steps, trials = row(conn, "SELECT avg(at_goal::int), avg(n) FILTER (WHERE at_goal), count(*) FROM trial")
    vfe, = row(conn, "SELECT avg(vfe) FROM run")
    arrived = conn.execute("SELECT (SELECT count(*) FROM trial WHERE at_goal AND trial.n <= s.n) FROM generate_series(0, %s) s(n)",
                           [task.max_steps])
    course = conn.execute(
        "SELECT n, avg(vfe), percentile_cont(0.25) WITHIN GROUP (ORDER BY vfe), percentile_cont(0.75) WITHIN GROUP (ORDER BY vfe)"
        " FROM (SELECT vfe, row_number() OVER (PARTITION BY agent_id, trial ORDER BY step) AS n FROM run) r"
        " GROUP BY n HAVING count(*) >= 0.02 * %s ORDER BY n", [trials])
    return {"reached": float(reached), "steps_to_goal": None if steps is None else float(steps), "vfe": vfe,
            "arrived": [n / trials for n, in arrived],
            "course": [{"n": n, "mean": mean, "low": low, "high": high} for n, mean, low, high in course]}


# ----------------------------------------------------------------------------------------------------------------- one agent

def watch(conn: psycopg.Connection, task: dict) -> dict:
    """One more trial of one agent, a statement a step, with what it believes and why it does what it does."""
    agent = task["agent_id"]
    spec, = row(conn, "SELECT spec FROM fa_model WHERE name = %s", [task["model"]])
    conn.execute("SELECT fa_agent_reset(%s)", [[agent]])
    steps, policies, rows = [], 0, None
    while len(steps) < task["max_steps"] and not (steps and holds(task["until"], steps[-1])):
        observation, action, vfe = row(conn, "SELECT observation, action, vfe FROM fa_run(%s, 1)", [agent])
        plans = explain(conn, agent, spec)
        policies = len(plans)
        steps.append({
            "step": len(steps) + 1, "vfe": vfe, "plans": best_by_move(plans), "first": first_actions(plans, spec),
            "observation": {m["name"]: m["outcomes"][o] for m, o in zip(spec["modalities"], observation)},
            "action": {c["name"]: c["actions"][u] for c, u in zip(spec["controls"], action)},
            "belief": in_order(row(conn, "SELECT fa_belief(%s)", [agent])[0], spec),
            "state": {f["name"]: f["states"][s] for f, s in
                      zip(spec["factors"], row(conn, "SELECT world_state FROM fa_belief WHERE agent_id = %s", [agent])[0])}})
        steps[-1]["does"] = "at the goal" if holds(task["until"], steps[-1]) else "goes: " + steps[-1]["action"]["move"].lower()
        if len(steps) == 2:
            rows = psql_rows(agent)
    return task | {"steps": steps, "policies": policies, "rows": rows}


def in_order(belief: dict, spec: dict) -> dict:
    """As in the spec: jsonb keeps its members in an order of its own."""
    return {f["name"]: {state: belief[f["name"]][state] for state in f["states"]} for f in spec["factors"]}


def holds(until: dict, step: dict) -> bool:
    return all(step[kind].get(name) == label for kind, wanted in until.items() for name, label in wanted.items())


def explain(conn: psycopg.Connection, agent: int, spec: dict) -> list[dict]:
    """The plans of the last step, best first, with the names of their moves."""
    names = ("actions", "probability", "neg_efe", "utility", "state_info_gain", "inductive")
    plans = [dict(zip(names, r)) for r in conn.execute(
        f"SELECT {', '.join(names)} FROM fa_explain(%s) ORDER BY probability DESC, policy", [agent])]
    labels = spec["controls"][0]["actions"]
    return [plan | {"moves": [labels[u[0]].lower() for u in plan["actions"]]} for plan in plans]


def best_by_move(plans: list[dict]) -> list[dict]:
    """Most plans differ only in what comes later: the best of those that begin alike stands for them."""
    best: dict[str, dict] = {}
    for plan in plans:
        best.setdefault(plan["moves"][0], plan)
    return list(best.values())


def first_actions(plans: list[dict], spec: dict) -> dict[str, float]:
    out = {label: 0.0 for label in spec["controls"][0]["actions"]}
    for plan in plans:
        out[spec["controls"][0]["actions"][plan["actions"][0][0]]] += plan["probability"]
    return out


# ------------------------------------------------------------------------------------------------------------- on the terminal

def print_table(tasks: list[dict]) -> None:
    print(f"\n{'':<13}{'':>7}{'':>7}{'goal':>9}{'steps to':>10}{'mean free':>11}{'steps per':>11}")
    print(f"{'task':<13}{'agents':>7}{'trials':>7}{'reached':>9}{'the goal':>10}{'energy':>11}{'second':>11}")
    print("-" * 68)
    for t in tasks:
        print(f"{t['title']:<13}{t['agents']:>7,}{t['trials']:>7}{t['reached']:>9.1%}{page.number(t['steps_to_goal'], 1):>10}"
              f"{t['vfe']:>11.3f}{t['rate']:>11,.0f}")
    print("Free energy, in nats, is how much an observation surprised.")
    for t in tasks:
        if t["shortfall"] and t["reached"] < 1:
            print(textwrap.fill(f"{t['title']}: {t['shortfall']}", 78))


QUERIES = [
    "SELECT f.key AS factor, s.key AS state, round(s.value::numeric, 4) AS belief\n"
    "FROM jsonb_each(fa_belief({agent})) f, jsonb_each(f.value) s\n"
    "ORDER BY factor, belief DESC",
    "SELECT actions, round(probability::numeric, 4) AS probability,\n"
    "  round(neg_efe::numeric, 3) AS neg_efe, round(utility::numeric, 3) AS utility,\n"
    "  round(state_info_gain::numeric, 3) AS info_gain\n"
    "FROM fa_explain({agent}) ORDER BY probability DESC, policy LIMIT 5",
]


def psql_rows(agent: int) -> list[tuple[str, str]]:
    """What a person at psql gets: each query with its rows."""
    out = []
    for query in QUERIES:
        query = query.format(agent=agent)
        shown = subprocess.run(["psql", "-XqP", "footer=off", "-c", query], check=True, capture_output=True, text=True).stdout
        out.append((query, shown.rstrip()))
    return out


def print_agent(task: dict) -> None:
    """The watched agent of the first task after its second step, when it has seen the cue."""
    second = task["steps"][1]
    seen = ", ".join(f"{name} = {outcome}" for name, outcome in second["observation"].items())
    print(f"\nOne agent of the T-maze, agent {task['agent_id']}, after its second step. It saw\n{seen}.\n"
          f"What does it believe, and why does it go to the {second['action']['move']} now?")
    for query, shown in task["rows"]:
        print(f"\n{query};\n{shown}")
    print("An action has an entry for each control; the first is the place to go to:\n"
          "0 centre, 1 left, 2 right, 3 cue, 4 middle.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted", flush=True)
        os._exit(130)           # threads may still be waiting for the server, which is about to go
    except psycopg.Error as error:
        sys.exit(f"\nthe demo failed: {error}")

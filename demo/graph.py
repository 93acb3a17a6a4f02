"""The demo of the knowledge graph: agents forage in WordNet for a concept, alone and together.

Called by demo/run, in a private cluster that psycopg finds by its environment. Prints what happened and writes the page
(graph_page.py draws it).

The part of WordNet is a tree of hyponyms, a state of factor "place" for each synset. An agent moves along relations, and sees
whether the concept that it looks for is here, or a hyponym or the hypernym of what is here. Where the concept is, is the other
factor, "concept". It has no preferences: what moves it is what it would learn. The same agents do it twice, with the same
seeds: alone; and in coalitions of ten, where each tells the others what it saw, by messages, and what a message rules out
comes to an agent as observations of the modalities "told". Who knows is asked of the graph, where their beliefs are.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time

import psycopg

import graph_page
import wordnet
from common import row, write

SEEN = ["nothing", "here", "below", "above"]
SURE = 0.8


def main() -> None:
    options = argparse.ArgumentParser(description="run the demo in the server that the environment names")
    options.add_argument("--agents", type=int, default=200)
    options.add_argument("--coalition", type=int, default=10, help="agents of a coalition")
    options.add_argument("--root", default="wind instrument", help="the noun under which they look")
    options.add_argument("--places", type=int, default=70, help="synsets that they move among, at most")
    options.add_argument("--rounds", type=int, default=80, help="steps of each agent, at most")
    options.add_argument("--page", default="demo-graph.html", help="where to write the page")
    args = options.parse_args()
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS fa_agents")
        version, = row(conn, "SELECT fa_version()")
        start = time.monotonic()
        nodes, edges = wordnet.load(conn)
        print(f"fa_agents {version}: WordNet loaded, {nodes:,} synsets and {edges:,} relations, in"
              f" {time.monotonic() - start:.0f} s.", flush=True)
        part = choose(conn, args.root, args.places)
        conn.execute("SELECT fa_model_create('forager', %s), fa_belief_sync('forager', 'change', 0.2)", [spec(part, None)])
        print(f"{args.agents} agents look for concepts among the {len(part['places'])} under \"{args.root}\", in"
              f" {args.agents // args.coalition} coalitions of {args.coalition}, each for another one.", flush=True)
        searches = {how: search(conn, part, args, how) for how in ("alone", "together")}
        believers = row(conn, graph_page.BELIEVERS.format(label=part["labels"][searches["together"]["targets"][0]]))[0]
    report = {"version": version, "date": datetime.date.today().isoformat(), "nodes": nodes, "edges": edges, "root": args.root,
              "agents": args.agents, "coalition": args.coalition, "part": part, "searches": searches, "sure": SURE,
              "rounds": args.rounds, "believers": believers}
    print_table(report)
    write(args.page, graph_page.render(report))
    print(f"\nPictures: {os.path.relpath(args.page)}. Open it in a browser.")


# ----------------------------------------------------------------------------------------------------------- a part of the graph

def choose(conn: psycopg.Connection, root: str, most: int) -> dict:
    """The tree of hyponyms under a noun, broad first: places by number, their parents, and where each move leads."""
    top, = row(conn, "SELECT node_id FROM fa_node n WHERE kind = 'noun' AND props @> jsonb_build_object('words', jsonb_build_array(%s::text))"
                     " ORDER BY (SELECT count(*) FROM fa_graph_neighbors(n.node_id, 3, '{hyponym}')) DESC LIMIT 1", [root])
    inside = dict(conn.execute("SELECT node_id, depth FROM fa_graph_neighbors(%s, 4, '{hyponym}') ORDER BY depth, node_id LIMIT %s",
                               [top, most - 1]).fetchall())
    places = [top, *inside]
    number = {node: i for i, node in enumerate(places)}
    parents: list[int | None] = [None] * len(places)
    for src, dst in conn.execute("SELECT src, dst FROM fa_graph_subgraph(%s, 0, '{hyponym}') ORDER BY edge_id", [places]):
        if parents[number[dst]] is None and number[src] < number[dst]:
            parents[number[dst]] = number[src]
    children = [[i for i, p in enumerate(parents) if p == place] for place in range(len(places))]
    names = dict(conn.execute("SELECT node_id, props -> 'words' ->> 0 FROM fa_node WHERE node_id = ANY(%s)", [places]).fetchall())
    labels = [f"{names[node]} ({node})" for node in places]
    # a move is the number of a relation: the hypernym first, then hyponyms; those that are not there stay
    moves = [([] if p is None else [p]) + children[i] for i, p in enumerate(parents)]
    return {"places": places, "labels": labels, "names": [names[node] for node in places], "parents": parents, "moves": moves}


def seen(part: dict, place: int, concept: int) -> int:
    if place == concept:
        return SEEN.index("here")
    if part["parents"][concept] == place:
        return SEEN.index("below")
    return SEEN.index("above" if part["parents"][place] == concept else "nothing")


def told(i: int, target: int | None, count: int) -> list[list[float]]:
    """Whether others say that the concept is not at place i: half of the time, where that is true. The world itself says nothing."""
    says = [0.0 if target is not None or j == i else 0.5 for j in range(count)]
    return [[1 - p for p in says], says]


def spec(part: dict, target: int | None) -> str:
    """The agents' model; with a target, the world in which the concept is there."""
    count = len(part["places"])
    every = range(count)
    width = max(map(len, part["moves"]))
    nowhere = [1 / count] * count
    return json.dumps({
        "factors": [{"name": "place", "states": part["labels"], "controlled_by": ["move"]},
                    {"name": "concept", "states": part["labels"], "controlled_by": ["look"]}],
        "controls": [{"name": "move", "actions": width}, {"name": "look", "actions": 1}],
        "modalities": [{"name": "place", "outcomes": part["labels"], "depends_on": ["place"]},
                       {"name": "seen", "outcomes": SEEN, "depends_on": ["place", "concept"]}]
                      + [{"name": f"told {i}", "outcomes": ["nothing", "not here"], "depends_on": ["concept"]} for i in every],
        "A": [{"shape": [count, count], "default": 0, "entries": [[i, i, 1] for i in every]},
              {"shape": [len(SEEN), count, count], "default": 0,
               "entries": [[seen(part, place, concept), place, concept, 1] for place in every for concept in every]}]
             + [told(i, target, count) for i in every],
        "B": [{"next": [[moves[u] if u < len(moves) else place for u in range(width)] for place, moves in enumerate(part["moves"])]},
              {"next": [[i] for i in every]}],
        "D": [nowhere, nowhere if target is None else [float(i == target) for i in every]],
        "policy_len": 2, "gamma": 16, "action_selection": "stochastic", "use_utility": False})


# ---------------------------------------------------------------------------------------------------------------------- foraging

def search(conn: psycopg.Connection, part: dict, args: argparse.Namespace, how: str) -> dict:
    """Steps all agents until they know; returns what each saw and when it knew."""
    count = len(part["places"])
    coalitions = args.agents // args.coalition
    # spread over all depths: places are numbered broad first
    targets = [(2 * i + 1) * count // (2 * coalitions) for i in range(coalitions)]
    if how == "alone":
        for i, target in enumerate(targets):
            conn.execute("SELECT fa_world_create(%s, %s)", [f"where {i}", spec(part, target)])
    params = [json.dumps({"world": f"where {i // args.coalition}", "seed": i, "history": True}) for i in range(args.coalition * coalitions)]
    ids = [i for i, in conn.execute("SELECT fa_agent_create_many('forager', %s::jsonb[])", [params])]
    group = {agent: i // args.coalition for i, agent in enumerate(ids)}
    if how == "together":
        for i in range(coalitions):
            conn.execute("SELECT fa_coalition_create(%s, %s)", [f"search {i}", [a for a in ids if group[a] == i]])
    knows: dict[int, int] = {}
    told = 0
    start = time.monotonic()
    for now in range(1, args.rounds + 1):
        looking = [agent for agent in ids if agent not in knows]
        with conn.transaction():
            conn.execute("SELECT count(*) FROM fa_step_many(%s)", [looking])
            if how == "together":
                told += tell(conn, part, looking, ids, group)
        for agent in who_knows(conn, part, targets, looking, group):
            knows[agent] = now
        print(f"\r{how:<9} round {now:>2}: {len(knows):>3} of {len(ids)} know", end="", flush=True)
        if len(knows) == len(ids):
            break
    print(f", {told:,} messages, {time.monotonic() - start:.0f} s", flush=True)
    paths: dict[int, list[int]] = {agent: [] for agent in ids}
    for agent, place in conn.execute("SELECT agent_id, observation[1] FROM fa_history WHERE agent_id = ANY(%s) ORDER BY agent_id, step", [ids]):
        paths[agent].append(place)
    return {"agents": ids, "targets": targets, "knows": [knows.get(agent) for agent in ids], "paths": [paths[agent] for agent in ids],
            "messages": told}


def tell(conn: psycopg.Connection, part: dict, looking: list[int], ids: list[int], group: dict[int, int]) -> int:
    """Each tells its coalition what it saw last; each takes in what it was told, as one observation. How many were sent."""
    sent, = row(conn, "SELECT sum(fa_broadcast(b.agent_id, coalition, jsonb_build_object('place', h.observation[1], 'seen', h.observation[2])))"
                      " FROM unnest(%s::bigint[], %s::text[]) AS a (agent_id, coalition) JOIN fa_belief b USING (agent_id)"
                      " JOIN fa_history h ON h.agent_id = b.agent_id AND h.step = b.step",
                [looking, [f"search {group[agent]}" for agent in looking]])
    heard: dict[int, set[int]] = {agent: set() for agent in ids}
    every = set(range(len(part["places"])))
    for agent, body in conn.execute("SELECT a, r.body FROM unnest(%s::bigint[]) a, fa_receive(a, 1000) r", [ids]):
        heard[agent] |= {c for c in every if seen(part, body["place"], c) != body["seen"]}
    news = {agent: out for agent, out in heard.items() if out and agent in looking}
    observations = ["{-1,-1," + ",".join("1" if c in out else "-1" for c in range(len(every))) + "}" for out in news.values()]
    conn.execute("SELECT count(fa_observe(agent, observation::int[])) FROM unnest(%s::bigint[], %s::text[]) o (agent, observation)",
                 [list(news), observations])
    return int(sent or 0)


def who_knows(conn: psycopg.Connection, part: dict, targets: list[int], looking: list[int], group: dict[int, int]) -> list[int]:
    """Of those who look, who believes where the concept is, with more than SURE: a query on the graph for each concept."""
    still = set(looking)
    found = []
    for target in sorted({targets[group[agent]] for agent in looking}):
        label = part["labels"][target]
        believers = conn.execute("SELECT (props ->> 'agent_id')::bigint FROM fa_node WHERE kind = 'agent' AND props @> %s"
                                 " AND (props #>> %s)::float8 > %s",
                                 [json.dumps({"believes": {"concept": label}}), ["belief", "concept", label], SURE])
        found += [agent for agent, in believers if agent in still and targets[group[agent]] == target]
    return found


# ------------------------------------------------------------------------------------------------------------- on the terminal

def print_table(report: dict) -> None:
    print(f"\n{'':<10}{'know after':>12}{'half know':>11}{'know at':>9}{'messages':>10}\n{'':<10}{'steps, mean':>12}{'after':>11}{'the end':>9}")
    print("-" * 52)
    for how, line in graph_page.lines(report).items():
        print(f"{how:<10}{line['mean']:>12.1f}{line['median']:>11g}{line['share']:>9.0%}{report['searches'][how]['messages']:>10,}")
    print(f"Together they know {graph_page.sooner(report):.1f} times sooner.")


if __name__ == "__main__":
    try:
        main()
    except psycopg.Error as error:
        sys.exit(f"\nthe demo failed: {error}")

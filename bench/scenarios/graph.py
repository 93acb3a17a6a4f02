"""walks in the knowledge graph, what is found by props, and upserts, on WordNet and on a graph of a million nodes

WordNet is Debian's wordnet-base: 117,659 synsets and 377,592 relations; the generated graph has a million nodes and five million
edges, each node's five lead to others by chance. All sides read the same rows: ours the tables of the extension, the peers plain
copies with the indexes that they can use, analyzed and vacuumed. Every side returns the same set of nodes, or a path of the same length,
and that is checked.

neighbours: all within 3 and 6 steps of 50 nodes by chance. The peers are a recursive query (the shape that was the fastest of
those tried: UNION over node and depth, an index-only scan a level) and pgrouting's pgr_drivingDistance, which takes all nodes in one
call and reads the edges once; the better of both counts. path: a path of fewest edges between 100 pairs; the peer is
pgr_bdDijkstra, one call for each pair as a program would ask (fewer of them, for it takes long). find: props @> '{..}', one row
of a million; peers are the same rows as json without an index (a scan, as the system had that this replaces), and with
jsonb_ops. write: upserts of nodes and of edges from 2 sessions while 4 others read neighbours; the peer is INSERT .. ON CONFLICT
into tables with the same columns and indexes (and readers of these), which keeps no versions.

The first walk makes the copy in memory; build is how long that takes.
"""
from __future__ import annotations

import pathlib
import random
import threading
from typing import Iterator

from common import Bench, Goal

PACKAGES = ["wordnet-base", "postgresql-15-pgrouting"]
# a server of its own, made when the packages are there; the copy of the large graph takes 180 MB
SETTINGS = ["fa_agents.cache_size=512MB"]
WORDNET = pathlib.Path("/usr/share/wordnet")
PARTS = {"n": 1, "v": 2, "a": 3, "s": 3, "r": 4}
SAMPLE = 50
PAIRS = 100

RECURSIVE = """
SELECT count(*) FROM unnest(%(nodes)s::bigint[]) AS start, LATERAL (
    WITH RECURSIVE walk (node, depth) AS (
        SELECT start, 0 UNION
        SELECT e.dst, w.depth + 1 FROM walk w JOIN peer_edge e ON e.src = w.node WHERE w.depth < %(depth)s)
    SELECT node, min(depth) FROM walk WHERE node <> start GROUP BY node) AS w"""
DRIVING = """
SELECT count(*) FROM pgr_drivingDistance('SELECT edge_id AS id, src AS source, dst AS target, 1::float8 AS cost FROM peer_edge',
    %(nodes)s::bigint[], %(depth)s, true) WHERE node <> from_v"""
OURS = """
SELECT count(*) FROM unnest(%(nodes)s::bigint[]) AS start, fa_graph_neighbors(start, %(depth)s)"""
PATH = """
SELECT coalesce(sum(length), 0) FROM unnest(%(src)s::bigint[], %(dst)s::bigint[]) AS pair (src, dst),
    LATERAL (SELECT count(edge_id) AS length FROM fa_graph_path(src, dst, 100)) AS p"""
PATH_PEER = """
SELECT coalesce(sum(length), 0) FROM unnest(%(src)s::bigint[], %(dst)s::bigint[]) AS pair (src, dst),
    LATERAL (SELECT count(*) FILTER (WHERE edge >= 0) AS length FROM pgr_bdDijkstra(
        'SELECT edge_id AS id, src AS source, dst AS target, 1::float8 AS cost FROM peer_edge', src, dst, true)) AS p"""


def synsets() -> Iterator[tuple[int, str, list[str], str, list[tuple[int, str]]]]:
    """Each synset: its id, part of speech, words, gloss, and where it leads by which relation."""
    for part in ("noun", "verb", "adj", "adv"):
        with open(WORDNET / f"data.{part}", encoding="utf-8") as file:
            for line in file:
                if line.startswith("  "):
                    continue                # the license
                head, _, gloss = line.partition("|")
                fields = head.split()
                words = int(fields[3], 16)
                first = 5 + 2 * words
                relations = [(PARTS[fields[i + 2]] * 100_000_000 + int(fields[i + 1]), fields[i])
                             for i in range(first, first + 4 * int(fields[first - 1]), 4)]
                yield (PARTS[fields[2]] * 100_000_000 + int(fields[0]), fields[2], fields[4:4 + 2 * words:2],
                       gloss.strip(), relations)


def copy(bench: Bench, table: str, rows: Iterator[tuple]) -> None:
    with bench.conn.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as sink:
        for row in rows:
            sink.write_row(row)


def load_wordnet(bench: Bench, part: int) -> None:
    """Every part-th synset; all of them with 1."""
    kept = [synset for i, synset in enumerate(synsets()) if i % part == 0]
    ids = {synset[0] for synset in kept}
    copy(bench, "fa_node (node_id, kind, name)", ((node, kind, f"{words[0]} {node}") for node, kind, words, _, _ in kept))
    copy(bench, "fa_edge (src, dst, kind)",
         ((node, to, relation) for node, _, _, _, relations in kept for to, relation in relations if to in ids))


def load_generated(bench: Bench, nodes: int, edges: int) -> None:
    bench.execute("INSERT INTO fa_node (node_id, kind, name, props) SELECT i, 'thing', 'thing ' || i, jsonb_build_object("
                  "'serial', i, 'colour', 'colour ' || i %% 1000, 'size', i %% 17) FROM generate_series(1, %s) i", (nodes,))
    bench.execute("SELECT setseed(0.25)")
    # as anybody loads much: rows bring their ids, and two indexes come after them
    bench.execute("DROP INDEX fa_edge_dst, fa_edge_props")
    bench.execute("INSERT INTO fa_edge (edge_id, src, dst, kind, weight, parallel) SELECT i, 1 + i %% %s, 1 + floor(random() * %s)::bigint,"
                  " 'kind ' || i %% 8, random(), i FROM generate_series(1, %s) i ORDER BY 2", (nodes, nodes, edges))
    bench.execute("CREATE INDEX fa_edge_dst ON fa_edge (dst, kind, src)")
    bench.execute("CREATE INDEX fa_edge_props ON fa_edge USING gin (props jsonb_path_ops)")


def prepare_peer(bench: Bench) -> None:
    """The edges as a plain table, with the indexes that the peers use."""
    bench.execute("DROP TABLE IF EXISTS peer_edge")
    bench.execute("CREATE TABLE peer_edge AS SELECT edge_id, src, dst FROM fa_edge")
    bench.execute("CREATE INDEX ON peer_edge (src, dst)")
    bench.settle("peer_edge", "fa_node", "fa_edge")


def run(bench: Bench) -> None:
    bench.execute("CREATE EXTENSION IF NOT EXISTS pgrouting CASCADE")
    load_wordnet(bench, bench.size(1, 50))
    walks(bench, "wordnet", bench.size(2, 1))
    bench.execute("TRUNCATE fa_node, fa_edge, fa_node_history, fa_edge_history")
    load_generated(bench, bench.size(1_000_000, 5_000), bench.size(5_000_000, 25_000))
    walks(bench, "million", 1)          # the peers take long
    find(bench)
    bench.execute("TRUNCATE fa_edge")
    write(bench)


def seconds_of(bench: Bench, sql: str, arguments: dict, answers: set) -> float:
    """Time of a query, whose answer must be that of all others."""
    seconds = bench.timed(lambda: answers.add(bench.one(sql, arguments)))
    if len(answers) != 1:
        raise RuntimeError(f"the sides differ: {answers}")
    return seconds


def walks(bench: Bench, name: str, rounds: int) -> None:
    prepare_peer(bench)
    draw = random.Random(1)
    nodes = [row[0] for row in bench.execute("SELECT node_id FROM fa_node ORDER BY node_id")]
    sample = draw.sample(nodes, min(SAMPLE, len(nodes) // 2))
    bench.execute("SET fa_agents.graph_copy = always")
    build = bench.timed(lambda: bench.execute("SELECT count(*) FROM fa_graph_neighbors(%s)", (sample[0],)))
    bench.execute("RESET fa_agents.graph_copy")
    bench.report(f"{name}/build", [build], "s", "lower")
    for depth, goal in ((3, 2), (6, 5)):
        arguments = {"nodes": sample, "depth": depth}
        answers: set = set()
        if name == "million" and depth == 6:
            arguments["nodes"] = sample[:5]     # each reaches some ten thousand nodes
        ours, recursive, driving = bench.take_turns(rounds, [
            lambda sql=sql: seconds_of(bench, sql, arguments, answers) * 1000 for sql in (OURS, RECURSIVE, DRIVING)])
        better = min((recursive, "recursive query"), (driving, "pgr_drivingDistance"), key=lambda side: sorted(side[0])[len(side[0]) // 2])
        bench.report(f"{name}/neighbours_{depth}", ours, "ms", "lower", better[1], better[0], Goal("times", ">=", goal),
                     f"{answers.pop()} nodes from {len(arguments['nodes'])}")
    path(bench, name, rounds, nodes, draw)


def path(bench: Bench, name: str, rounds: int, nodes: list[int], draw: random.Random) -> None:
    pairs = {"src": draw.sample(nodes, PAIRS), "dst": draw.sample(nodes, PAIRS)}
    few = {end: ids[:1 if name == "million" else 5] for end, ids in pairs.items()}
    if bench.one(PATH, few) != bench.one(PATH_PEER, few):
        raise RuntimeError("the sides' paths differ in length")
    ours, theirs = bench.take_turns(rounds, [
        lambda: bench.timed(lambda: bench.one(PATH, pairs)) / PAIRS * 1000,
        lambda: bench.timed(lambda: bench.one(PATH_PEER, few)) / len(few["src"]) * 1000])
    bench.report(f"{name}/path", ours, "ms/pair", "lower", "pgr_bdDijkstra", theirs, Goal("times", ">=", 20))


def find(bench: Bench) -> None:
    nodes = bench.one("SELECT count(*) FROM fa_node")
    bench.execute("CREATE TABLE peer_json AS SELECT node_id, props::json AS props FROM fa_node")
    bench.execute("CREATE TABLE peer_ops AS SELECT node_id, props FROM fa_node")
    bench.execute("CREATE INDEX ON peer_ops USING gin (props)")
    bench.settle("peer_json", "peer_ops", "fa_node")
    ours = "\\set n random(1, %d)\nSELECT node_id FROM fa_node WHERE props @> jsonb_build_object('serial', :n::int);\n" % nodes
    ops = ours.replace("fa_node", "peer_ops")
    scan = bench.size(3, 1)
    values, indexed = bench.take_turns(scan, [
        lambda script=script: 1000 / bench.pgbench(script, 1, 2)[0] for script in (ours, ops)])
    unindexed = [bench.timed(lambda: bench.one("SELECT node_id FROM peer_json WHERE props ->> 'serial' = %s", (str(i + 1),))) * 1000
                 for i in range(scan)]
    bench.report("find/json", values, "ms", "lower", "json without an index", unindexed, Goal("times", ">=", 100))
    bench.report("find/jsonb_ops", values, "ms", "lower", "jsonb_ops", indexed)
    _, latencies = bench.pgbench(ours, 20, transactions=bench.size(500, 20))
    bench.report("find/p95_20_clients", [sorted(latencies)[len(latencies) * 95 // 100]], "ms", "lower", goal=Goal("value", "<", 5))


READERS = 4
# name: what is drawn, ours, the peer's
UPSERTS = {
    "nodes": ("\\set n random(1, {twice})\n\\set m random(1, {nodes})\n",
              "SELECT fa_node_put('thing', 'thing ' || :n::int, jsonb_build_object('serial', :n::int, 'size', :m::int));\n",
              "INSERT INTO peer_write_node (kind, name, props) VALUES ('thing', 'thing ' || :n::int, jsonb_build_object('serial', :n::int, 'size', :m::int))"
              " ON CONFLICT (kind, name) DO UPDATE SET props = excluded.props RETURNING node_id;\n"),
    "edges": ("\\set n random(1, {nodes})\n\\set m random(1, {nodes})\n\\set w random(1, 1000)\n",
              "SELECT fa_edge_put(:n::int, 1 + :n::int * 7919::bigint % {nodes} + :m::int % 2, 'kind', :w);\n",
              "INSERT INTO peer_write_edge (src, dst, kind, weight, parallel) VALUES (:n::int, 1 + :n::int * 7919::bigint % {nodes} + :m::int % 2, 'kind', :w, 0)"
              " ON CONFLICT (src, kind, dst, parallel) DO UPDATE SET weight = excluded.weight, props = excluded.props"
              " RETURNING edge_id;\n")}
READ = "\\set n random(1, {nodes})\nSELECT count(*) FROM fa_graph_neighbors(:n, 2);\n"
READ_PEER = """\\set n random(1, {nodes})
SELECT count(*) FROM (SELECT b.dst FROM peer_write_edge a JOIN peer_write_edge b ON b.src = a.dst WHERE a.src = :n
    UNION SELECT dst FROM peer_write_edge WHERE src = :n) AS w;
"""


def write(bench: Bench) -> None:
    nodes = bench.size(100_000, 2_000)
    bench.execute("DELETE FROM fa_node WHERE node_id > %s", (nodes,))
    bench.execute("INSERT INTO fa_edge (src, dst, kind, parallel) SELECT i, 1 + i * 7919 %% %s, 'kind', 0 FROM generate_series(1, %s) i",
                  (nodes, nodes))
    bench.execute("VACUUM FULL fa_node")
    for table in ("node", "edge"):
        bench.copy_table(f"fa_{table}", f"peer_write_{table}")
        bench.settle(f"fa_{table}", f"peer_write_{table}")
    for name, (draw, ours, theirs) in UPSERTS.items():
        for how, commit in (("sync", "on"), ("async", "off")):
            values, peers = bench.take_turns(
                bench.size(3, 1),
                [lambda script=script, read=read, commit=commit, draw=draw: upserts(
                    bench, (draw + script).format(nodes=nodes - 1, twice=2 * nodes), read.format(nodes=nodes), commit)
                 for script, read in ((ours, READ), (theirs, READ_PEER))],
                lambda: bench.execute("VACUUM fa_node, fa_edge, peer_write_node, peer_write_edge"))
            bench.report(f"write/{name}_{how}", values, "upserts/s", "higher", "INSERT ON CONFLICT", peers, Goal("ratio", ">=", 0.8))


def upserts(bench: Bench, script: str, read: str, commit: str) -> float:
    """Upserts a second of two sessions, while four others read, all together 400 times a second."""
    seconds = bench.size(2, 1)
    reader = threading.Thread(target=bench.pgbench, args=(read, READERS, seconds), kwargs={"rate": 400})
    reader.start()
    rate, _ = bench.pgbench(script, 2, seconds, settings={"synchronous_commit": commit})
    reader.join()
    return rate

"""messages between agents, sent and received, against pgq and a plain table that is read with SKIP LOCKED

send: senders alone, each message or each batch of 100 to 100 agents in a transaction; random senders of 1,000 agents. received:
each session sends a batch of 100 to one agent, and receives it in another transaction. flat: 2 million messages, with FULL=1 in the
environment 10 million, sent and received so, by eight sessions; in each tenth of them the largest size of the tables (they grow and
are truncated in turn, so the size at one moment tells little), and how long the slowest twentieth of the transactions took. Nothing is vacuumed, as everywhere in this bench.

The plain table has what a mailbox needs: a key that counts up, and an index by recipient and key; it is read by DELETE of the
first 100 rows that nobody has locked. pgq has one queue: its events are read by one consumer in batches, for no recipient, so
it is compared in sending alone. In each row the peer is the better of the two; the note has the other.

FreeAgentics claims more than 1,000 (simple), 5,000 (concurrent) and 10,000 (asynchronous) messages a second between objects of one
process, which nothing survives.
"""
import functools
import os
import statistics
import threading
from typing import Any, Callable

from common import Bench, Goal, number

AGENTS = 1000
BODY = """{"type": "handoff", "task": 17, "note": "the door on the left is open"}"""
RECIPIENTS = "{" + ",".join(str(i) for i in range(101, 201)) + "}"
PACKAGES = ["postgresql-15-pgq3"]
# its module must be there before the server's installation is copied
SETTINGS = ["max_connections=150"]
WHO = f"\\set s random(1, {AGENTS})\n\\set r random(1, {AGENTS})\n"
SEND = {
    "single": {
        "ours": f"{WHO}SELECT fa_send(:s, :r, '{BODY}');\n",
        "plain table": f"{WHO}INSERT INTO plain (sender, recipient, body) VALUES (:s, :r, '{BODY}');\n",
        "pgq": f"{WHO}SELECT pgq.insert_event('q', 'message', '{BODY}', :s::text, :r::text, NULL, NULL);\n"},
    "batch": {
        "ours": f"{WHO}SELECT fa_send_many(:s, '{RECIPIENTS}', '{BODY}');\n",
        "plain table": f"{WHO}INSERT INTO plain (sender, recipient, body)"
                       f" SELECT :s, r, '{BODY}' FROM unnest('{RECIPIENTS}'::bigint[]) r;\n",
        "pgq": f"{WHO}SELECT count(pgq.insert_event('q', 'message', '{BODY}', :s::text, r::text, NULL, NULL))"
               f" FROM unnest('{RECIPIENTS}'::bigint[]) r;\n"}}
RECEIVE = {
    "ours": f"{WHO}SELECT fa_send_many(:s, array_fill(:r::bigint, ARRAY[100]), '{BODY}');\n"
            "SELECT * FROM fa_receive(:r, 100);\n",
    "plain table": f"{WHO}INSERT INTO plain (sender, recipient, body)"
                   f" SELECT :s, r, '{BODY}' FROM unnest(array_fill(:r::bigint, ARRAY[100])) r;\n"
                   "DELETE FROM plain WHERE message_id IN (SELECT message_id FROM plain WHERE recipient = :r"
                   " ORDER BY message_id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING message_id, sender, sent_at, body;\n"}
# no sender is stopped by what nobody receives
LIMIT = {"fa_agents.mailbox_limit": "1000000000"}
# ten million take longer than all else here
FULL = os.environ.get("FULL", "") not in ("", "0")


def prepare(bench: Bench) -> None:
    bench.create_agents(AGENTS)
    bench.execute("CREATE TABLE plain (message_id bigserial PRIMARY KEY, sender bigint NOT NULL, recipient bigint NOT NULL,"
                  " sent_at timestamptz NOT NULL DEFAULT clock_timestamp(), priority smallint NOT NULL DEFAULT 0,"
                  " body jsonb NOT NULL)")
    bench.execute("CREATE INDEX ON plain (recipient, message_id)")
    bench.execute("CREATE EXTENSION pgq")
    bench.execute("SELECT pgq.create_queue('q')")
    bench.settle("fa_belief")


def empty(bench: Bench) -> None:
    """All sides begin with nothing; ids go on."""
    bench.execute("TRUNCATE fa_message, plain, " + ", ".join(
        f"{prefix}_{i}" for prefix, tables in bench.execute("SELECT queue_data_pfx, queue_ntables FROM pgq.queue")
        for i in range(tables)))


def send(bench: Bench, kind: str, senders: int, commit: str) -> None:
    names = list(SEND[kind])
    size = 100 if kind == "batch" else 1
    settings = {"synchronous_commit": commit, **LIMIT}

    def rate(name: str) -> float:
        # a session learns about each recipient once
        return size * bench.pgbench(SEND[kind][name], senders, 1 if kind == "batch" else 2, settings=settings)[0]

    rates = dict(zip(names, bench.take_turns(bench.size(2, 1), [functools.partial(rate, name) for name in names],
                                             lambda: empty(bench))))
    peer, other = sorted(names[1:], key=lambda name: -statistics.median(rates[name]))
    bench.report(f"send/{senders}_sender{'s' if senders > 1 else ''}/{kind}/{'sync' if commit == 'on' else 'async'}",
                 rates["ours"], "messages/s", "higher", peer, rates[peer],
                 Goal("ratio", ">=", 2.0 if kind == "batch" else 0.9),
                 note=f"{other}: {number(statistics.median(rates[other]))}")


def received(bench: Bench, senders: int) -> None:
    settings = {"synchronous_commit": "off", **LIMIT}
    ours, plain = bench.take_turns(
        bench.size(3, 1), [lambda: 100 * bench.pgbench(RECEIVE["ours"], senders, 1, settings=settings)[0],
                           lambda: 100 * bench.pgbench(RECEIVE["plain table"], senders, 1, settings=settings)[0]],
        lambda: empty(bench))
    bench.report(f"received/{senders}_session{'s' if senders > 1 else ''}/batch", ours, "messages/s", "higher",
                 "plain table, SKIP LOCKED", plain, Goal("ratio", ">=", 2.0))


def largest_while(bench: Bench, call: Callable[[], Any]) -> tuple[float, Any]:
    """The largest size of the tables while something is done, in MB; and what comes of that."""
    sizes = []
    over = threading.Event()

    def watch() -> None:
        with bench.connect() as session:
            while not over.wait(0.1):
                sizes.append(session.execute("SELECT sum(pg_total_relation_size(relid))::float8 / 1e6"
                                             " FROM pg_partition_tree('fa_message') WHERE isleaf").fetchone()[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = call()
    finally:
        over.set()
        watcher.join()
    return max(sizes), result


def flat(bench: Bench) -> None:
    """Sizes and latencies of the first messages against those of the last."""
    parts = bench.size(10, 3)
    batches = bench.size(10_000 if FULL else 2_000, 400)
    settings = {"synchronous_commit": "off", **LIMIT}
    sizes, slow = [], []
    empty(bench)
    for _ in range(parts):
        size, (_, latencies) = largest_while(bench, lambda: bench.pgbench(RECEIVE["ours"], 8, transactions=batches // 8,
                                                                          settings=settings))
        slow.append(statistics.quantiles(latencies, n=20)[-1])
        sizes.append(size)
    third = max(parts // 3, 1)
    first = f"of the first {100 * third * batches:,} messages"
    bench.report("flat/size", [max(sizes[-third:])], "MB", "lower", f"largest {first}", [max(sizes[:third])],
                 Goal("ratio", "<=", 1.1), note=f"in each {100 * batches:,}: " + ", ".join(number(size) for size in sizes))
    bench.report("flat/p95", [statistics.median(slow[-third:])], "ms", "lower", first,
                 [statistics.median(slow[:third])], Goal("ratio", "<=", 1.2),
                 note=f"in each {100 * batches:,}: " + ", ".join(number(value) for value in slow))


def run(bench: Bench) -> None:
    prepare(bench)
    for kind in SEND:
        for senders, commit in ((1, "on"), (8, "on"), (50, "on"), (8, "off")):
            send(bench, kind, senders, commit)
    for senders in (1, 8):
        received(bench, senders)
    flat(bench)

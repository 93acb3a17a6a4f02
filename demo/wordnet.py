"""WordNet as Debian has it (package wordnet-base), read from its data files and loaded into the graph by COPY.

A line of a data file is a synset: "offset file ss_type count (word lex_id)... count (symbol offset pos source/target)... | gloss".
Counts of words are hexadecimal; a relation stands as often as pairs of its words have it, so there are parallel edges.
"""
from __future__ import annotations

import json
import pathlib
from typing import Iterator

import psycopg

FOLDER = pathlib.Path("/usr/share/wordnet")
FILES = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
RELATIONS = {
    "@": "hypernym", "@i": "instance of", "~": "hyponym", "~i": "instance", "#m": "member of", "#s": "substance of",
    "#p": "part of", "%m": "member", "%s": "substance", "%p": "part", "!": "antonym", "=": "attribute", "+": "derived",
    ";c": "topic", "-c": "of topic", ";r": "region", "-r": "of region", ";u": "usage", "-u": "of usage", "*": "entailment",
    ">": "cause", "^": "also", "$": "verb group", "&": "similar", "<": "participle", "\\": "pertains to"}


def lines() -> Iterator[tuple[str, list[str], str]]:
    """The file, the words of the line before the gloss, and the gloss."""
    for name in dict.fromkeys(FILES.values()):
        with open(FOLDER / f"data.{name}", encoding="latin-1") as file:
            for line in file:
                if not line.startswith("  "):           # the licence
                    body, gloss = line.split("|", 1)
                    yield name, body.split(), gloss.strip()


def load(conn: psycopg.Connection) -> tuple[int, int]:
    """All synsets as nodes, all relations as edges; how many."""
    ids: dict[tuple[str, str], int] = {}
    nodes, pointers = [], []
    for name, words, gloss in lines():
        ids[name, words[0]] = node_id = len(ids) + 1
        count = int(words[3], 16)
        lemmas = [word.replace("_", " ") for word in words[4:4 + 2 * count:2]]
        nodes.append((node_id, name, f"{lemmas[0]} {words[0]}", json.dumps({"words": lemmas, "gloss": gloss})))
        at = 5 + 2 * count
        for i in range(int(words[at - 1])):
            symbol, offset, part, _ = words[at + 4 * i:at + 4 * i + 4]
            pointers.append((node_id, RELATIONS[symbol], FILES[part], offset))
    with conn.cursor() as cursor:
        with cursor.copy("COPY fa_node (node_id, kind, name, props) FROM STDIN") as copy:
            for row in nodes:
                copy.write_row(row)
        with cursor.copy("COPY fa_edge (src, kind, dst) FROM STDIN") as copy:
            for src, kind, name, offset in pointers:
                copy.write_row((src, kind, ids[name, offset]))
    conn.execute("SELECT setval('fa_node_id_seq', %s)", [len(nodes)])
    conn.execute("ANALYZE fa_node, fa_edge")
    return len(nodes), len(pointers)

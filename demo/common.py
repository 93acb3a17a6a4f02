"""What both demos do alike: ask for a row, write a page."""
from __future__ import annotations

import os
from typing import Any

import psycopg


def row(conn: psycopg.Connection, query: str, args: Any = None) -> tuple:
    return conn.execute(query, args).fetchone()


def write(path: str, content: str) -> None:
    """All or nothing: an interrupted demo leaves the last page whole."""
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(path + ".tmp", path)

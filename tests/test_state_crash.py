"""Killed at any moment, Portal has every message that it acknowledged, exactly once."""

import concurrent.futures
import contextlib
import random
import sqlite3
import threading
import time
import uuid
from pathlib import Path

import httpx

from portal.runtime.state.copying import NAME
from tests.harness import PortalProcess

KILLS = 5
WRITERS = 6
LONGEST_LIFE = 0.6
"""Seconds between the start of the load and the kill."""


class Ledger:
    """What was sent, and what Portal said that it has."""

    def __init__(self) -> None:
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()

    def write(self, url: str, conversation: str, stop: threading.Event) -> None:
        """Send messages until Portal is gone."""
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            while not stop.is_set():
                text = uuid.uuid4().hex
                self.sent.add(text)
                body = {"role": "user", "content": f"word {text}"}
                try:
                    path = f"/portal/conversations/{conversation}/messages"
                    answer = client.post(path, json=body)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.acknowledged.add(text)


def _stored(state: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(state / NAME)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        # Compares the index of words with every message; raises where they differ.
        for index in ("message_words", "title_words"):
            connection.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
        (counted, kept) = connection.execute(
            "SELECT (SELECT sum(message_count) FROM conversations), (SELECT count(*) FROM messages)"
        ).fetchone()
        assert counted == kept
        rows = connection.execute("SELECT content FROM messages")
        return [content.removeprefix("word ") for (content,) in rows]


def test_every_acknowledged_message_survives_a_kill_exactly_once() -> None:
    chance, ledger = random.Random(4), Ledger()
    with PortalProcess() as portal:
        made = [portal.client.post("/portal/conversations", json={}).json()["id"] for _ in "abc"]
        for _ in range(KILLS):
            stop = threading.Event()
            with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
                writing = [
                    pool.submit(ledger.write, portal.url, made[n % len(made)], stop)
                    for n in range(WRITERS)
                ]
                before = len(ledger.acknowledged)
                deadline = time.monotonic() + 10
                while len(ledger.acknowledged) < before + 20 and time.monotonic() < deadline:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, LONGEST_LIFE))
                portal.kill()
                stop.set()
                for each in writing:
                    each.result()
            portal.start()
        assert portal.client.get("/health").status_code == 200
        portal.stop()

        stored = _stored(portal.state_dir)

    assert len(ledger.acknowledged) >= 20 * KILLS
    assert len(stored) == len(set(stored))
    assert ledger.acknowledged <= set(stored) <= ledger.sent

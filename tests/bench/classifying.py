"""What it costs to classify a question by the rules, however long it is."""

import time
from collections.abc import Sequence

from portal.runtime.classifier.classifier import classify
from portal.shared.messages import Message
from tests.bench.figures import Effort, Figure, Row, median

NAME = "classifying"
BUDGET_US = 1000.0
MEGABYTE = 1024 * 1024
LONG = 8 * 1024
TIMES = 40
"""Classifications of a round, of which the mean is a sample."""

PROSE = (
    "The council met on Tuesday about the new cycle path along the river. Shop owners fear for "
    "their parking spaces, and how do I write a function that counts the bicycles? "
)
GERMAN = "Der Gemeinderat prüfte die Bücher, während draußen die Straße für Fußgänger öffnete. "
CODE = (
    "def total(rows):\n    # sum them up\n    return sum(row.price * row.count for row in rows)\n\n"
)


def measure(effort: Effort) -> Row:
    """Take the CPU time of this thread for one classification, of each sort of text."""
    questions = (
        ("short", [Message("user", "Why does my loop never end?")]),
        ("8 KB of prose", [Message("user", _filled(PROSE, LONG))]),
        ("8 KB of code", [Message("user", _filled(CODE, LONG))]),
        ("1 MB of prose", [Message("user", _filled(PROSE, MEGABYTE))]),
        ("1 MB beyond ASCII", [Message("user", _filled(GERMAN, MEGABYTE))]),
        ("1 MB without a space", [Message("user", "a" * MEGABYTE)]),
        ("200 messages before it", _conversation()),
    )
    return Row(NAME, "Classifying a question", tuple(_figure(*each, effort) for each in questions))


def _figure(name: str, messages: Sequence[Message], effort: Effort) -> Figure:
    for _ in range(TIMES):
        classify(messages)
    samples = []
    for _ in range(effort.rounds):
        started = time.thread_time_ns()
        for _ in range(TIMES):
            classify(messages)
        samples.append((time.thread_time_ns() - started) / 1000 / TIMES)
    return median(name, samples, "µs", BUDGET_US)


def _filled(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length]


def _conversation() -> list[Message]:
    before = [Message("assistant" if at % 2 else "user", PROSE * 12) for at in range(200)]
    return [*before, Message("user", "and now in Rust?")]

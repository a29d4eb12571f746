"""What only both sides together tell: whose answer it was, and who noticed that a client left."""

from collections.abc import Mapping, Sequence

from tests.chaos.faults import Fault
from tests.chaos.ledger import Entry
from tests.chaos.mix import CHAT, mark
from tests.chaos.reading import Read, read
from tests.fakes.fake import Recorded

Records = Mapping[str, Mapping[str, Sequence[Recorded]]]
"""By backend, then by the request's mark."""
OLLAMA_CHAT = "/api/chat"


def index(recorded: Mapping[str, Sequence[Recorded]]) -> Records:
    """Sort records by backend and by the mark of the request that they belong to."""
    sorted_: dict[str, dict[str, list[Recorded]]] = {}
    for name, records in recorded.items():
        marks = sorted_[name] = {}
        for record in records:
            at = record.body.find("chaos-")
            if record.path in (CHAT, OLLAMA_CHAT) and at >= 0:
                marks.setdefault(record.body[at : at + len(mark(0))], []).append(record)
    return sorted_


def compare(entry: Entry, fault: Fault, records: Records) -> list[str]:
    """Hold an answer against what the backend of its route recorded."""
    if (
        entry.fate not in ("answered", "broken", "relayed")
        or not entry.route
        or not entry.kind.whole
    ):
        return []
    _, backend, model, *_ = entry.route.split(";")
    if fault.forgets and backend.startswith("hurt"):
        return []
    own = records.get(backend, {}).get(mark(entry.number), ())
    label = f"request {entry.number} ({entry.kind.name}, {entry.phase})"
    if not any(record.json["model"] == model for record in own):
        return [f"{label} says it was answered by {backend}/{model}, which was never asked"]
    if fault.garbles:
        return []
    if entry.fate == "relayed":
        if any(entry.words in each.answer.decode("utf-8", "replace") for each in own):
            return []
        return [f"{label} ended in an error that {backend} never sent: {entry.words[:80]!r}"]
    texts = [read_record(record).text for record in own]
    whole = entry.fate == "answered"
    same = entry.text in texts if whole else any(t.startswith(entry.text) for t in texts)
    # What a backend sent without recording its words, as raw bytes, cannot be compared.
    if same or any(record.answer.startswith(b"HTTP/1.1") for record in own):
        return []
    return [f"{label} does not say what {backend} said: {entry.text[:80]!r}"]


def read_record(record: Recorded) -> Read:
    """Read what a backend sent; its form follows from the path and from what was asked."""
    streamed = record.json.get("stream") is not False and '"stream"' in record.body
    if record.path == OLLAMA_CHAT:
        return read(record.answer, "application/x-ndjson" if streamed else "application/json")
    return read(record.answer, "text/event-stream" if streamed else "application/json")


def unnoticed(entries: Sequence[Entry], records: Records) -> list[str]:
    """Name requests whose client left, and whose backend still wrote at the end."""
    left = {mark(each.number): each for each in entries if each.fate == "left"}
    return [
        f"request {left[found].number} ({left[found].kind.name}) was left, and {backend} writes on"
        for backend, marks in records.items()
        for found in marks.keys() & left.keys()
        if any(record.state == "open" for record in marks[found])
    ]

"""The stage of a fake: it records requests, plays scripts, and is directed under `/__fake/`.

| request | does |
|---|---|
| `GET /__fake/requests` | every request so far, and how its answer went |
| `POST /__fake/script` | puts one `Script`, or a list of them, in force |
| `POST /__fake/step` `{"tokens": n}` | lets exactly n more tokens out of `manual` answers |
| `GET /__fake/wait?event=&count=&timeout=&path=` | answers when it happened so often, or 408 |
| `POST /__fake/models` `{"models": [...]}` | replaces the list of models |
| `GET /__fake/state` | what is loaded, and how often each model was: `Memory.state` |
| `POST /__fake/memory` `{"models": n, "load_ms": t}` | how many models fit, how long one loads |
| `POST /__fake/reset` | forgets requests and scripts, ends answers that are under way |
| `POST /__fake/die` | ends the process at once, without an answer |

Events: `request` (arrived), `closed` (the client left in mid-answer), `finished` (wholly sent),
`cut` (by the script). Counts are since the start or the last reset.
"""

import argparse
import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from tests.fakes.playing import JSON_TYPE, Answer, Gate, Performance, Record, Reply, prebuild
from tests.fakes.program import die, run, until_signalled
from tests.fakes.script import Plan, Script
from tests.fakes.serving import Connection, Exchange, Work, listen

KEPT = 20_000
PREFIX = "/__fake/"
EVENTS = {"request": None, "closed": "client_closed", "finished": "finished", "cut": "cut"}


class Dialect(Protocol):
    """One API: which paths make a model work, and what is answered."""

    name: str

    def works(self, path: str) -> bool:
        """Whether a model has to work for this path."""
        ...

    def answer(self, exchange: Exchange, script: Script) -> Answer | Reply:
        """Word the answer to a request under this script."""
        ...

    def set_models(self, models: tuple[Any, ...] | None) -> None:
        """Replace the models: names, or the API's own objects. None: those of the start."""
        ...

    async def admit(self, exchange: Exchange) -> Callable[[], None] | None:
        """Wait until the model that a request needs is loaded; what is returned lets go of it."""
        ...

    def state(self) -> dict[str, Any]:
        """Tell what is loaded and how often each model was."""
        ...

    def set_memory(self, models: int | None, load_ms: float) -> None:
        """Let so many models fit at once, and loading one take so long."""
        ...

    def reset(self) -> None:
        """Go back to the start: its models, nothing loaded, nothing counted."""
        ...


class Stage:
    """Answers every request of one fake: control requests itself, the others by its dialect."""

    def __init__(self, dialect: Dialect, scripts: tuple[Script, ...] = ()) -> None:
        self.connections: set[Connection] = set()
        self._dialect = dialect
        self._plan = Plan(scripts)
        self._gate = Gate()
        self._records: deque[Record] = deque(maxlen=KEPT)
        self._count = 0
        self._pulse = asyncio.Event()
        self._prebuilt: dict[tuple[str, bytes], bytes] = {}

    def __call__(self, exchange: Exchange) -> Work | None:
        path = exchange.path
        if path.startswith(PREFIX):
            return self._control(exchange, path.removeprefix(PREFIX))
        works = self._dialect.works(path)
        script = self._plan.take(path, asked_model(exchange.body) if works else None, works=works)
        if script is not None and script.instant:
            key = (path, exchange.body)
            if key not in self._prebuilt:
                self._prebuilt[key] = prebuild(self._dialect.answer(exchange, script))
            exchange.answer_raw(self._prebuilt[key], close=False)
            return None
        return self._perform(exchange, script or Script(), self._record(exchange))

    def _record(self, exchange: Exchange) -> Record:
        self._count += 1
        record = Record(
            self._count,
            exchange.connection.number,
            exchange.method,
            exchange.path,
            exchange.query,
            exchange.headers,
            exchange.body,
        )
        self._records.append(record)

        def closed() -> None:
            record.state = "client_closed"
            record.closed_after = record.tokens_sent
            self._notify()

        exchange.on_closed = closed
        self._notify()
        return record

    def _notify(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()

    async def _perform(self, exchange: Exchange, script: Script, record: Record) -> None:
        performance = Performance(exchange, script, record, self._gate)
        await performance.curtain()
        if script.raw is not None:
            record.sent = script.raw
            exchange.answer_raw(script.raw, close=True)
            performance.settle()
        elif script.status is not None:
            body = script.body
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            await performance.play(Reply(script.status, b"" if body is None else data))
        else:
            let_go = await self._dialect.admit(exchange)
            try:
                await performance.play(self._dialect.answer(exchange, script))
            finally:
                if let_go is not None:
                    let_go()
        self._notify()

    async def _control(self, exchange: Exchange, action: str) -> None:
        try:
            status, result = await self._direct(exchange, action)
        except (msgspec.MsgspecError, ValueError) as error:
            status, result = 400, {"error": str(error)}
        await exchange.reply(status, [("Content-Type", JSON_TYPE)], json.dumps(result).encode())

    async def _direct(self, exchange: Exchange, action: str) -> tuple[int, Any]:
        match exchange.method, action:
            case "GET", "requests":
                return 200, {
                    "fake": self._dialect.name,
                    "pid": os.getpid(),
                    "requests": [shown(record) for record in self._records],
                }
            case "GET", "wait":
                return await self._wait(exchange.query)
            case "POST", "script":
                for script in decode_scripts(exchange.body):
                    self._plan.add(script)
                self._prebuilt.clear()
            case "POST", "step":
                self._gate.step(msgspec.json.decode(exchange.body, type=Step).tokens)
            case "POST", "models":
                self._dialect.set_models(msgspec.json.decode(exchange.body, type=Models).models)
            case "GET", "state":
                return 200, self._dialect.state()
            case "POST", "memory":
                memory = msgspec.json.decode(exchange.body, type=MemoryLimit)
                self._dialect.set_memory(memory.models, memory.load_ms)
            case "POST", "reset":
                self._reset(exchange.connection)
            case "POST", "die":
                die()
            case _:
                return 404, {"error": f"{exchange.method} {exchange.path}: no such control"}
        return 200, {"ok": True}

    def _reset(self, spared: Connection) -> None:
        """Forget everything; connections with an answer under way are reset, but for one."""
        for connection in list(self.connections):
            if connection is not spared and connection.current is not None:
                connection.current.on_closed = None
                connection.close(reset=True)
        self._plan.reset()
        self._gate.clear()
        self._dialect.reset()
        self._records.clear()
        self._prebuilt.clear()
        self._count = 0

    async def _wait(self, query: dict[str, str]) -> tuple[int, Any]:
        event, path = query.get("event", "request"), query.get("path")
        if event not in EVENTS:
            raise ValueError(f"event is {event!r}; it may be {', '.join(EVENTS)}")
        wanted, state = int(query.get("count", "1")), EVENTS[event]
        seen = 0
        try:
            async with asyncio.timeout(float(query.get("timeout", "5"))):
                while (seen := count(self._records, state, path)) < wanted:
                    await self._pulse.wait()
        except TimeoutError:
            return 408, {"event": event, "count": seen}
        return 200, {"event": event, "count": seen}


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/__fake/step`."""

    tokens: int = 1


class Models(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/__fake/models`."""

    models: tuple[Any, ...]


class MemoryLimit(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `/__fake/memory`."""

    models: int | None = None
    load_ms: float = 0


class Asked(msgspec.Struct):
    """The part of any request that names its model."""

    model: str | None = None


def asked_model(body: bytes) -> str | None:
    """Read which model a request names, if it is that well formed."""
    try:
        return msgspec.json.decode(body, type=Asked).model
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def count(records: Iterable[Record], state: str | None, path: str | None) -> int:
    """Count the records in a state (None: any), of a path (None: any)."""
    return sum(
        (state is None or record.state == state) and (path is None or record.path == path)
        for record in records
    )


def shown(record: Record) -> dict[str, Any]:
    """Put a record into JSON's types; bytes become text whose surrogate escapes give them back."""
    fields = msgspec.structs.asdict(record)
    for name in ("body", "sent"):
        fields[name] = fields[name].decode("utf-8", "surrogateescape")
    return fields


def decode_scripts(data: bytes) -> tuple[Script, ...]:
    """Read one script or a list of them."""
    if data.lstrip().startswith(b"["):
        return msgspec.json.decode(data, type=tuple[Script, ...])
    return (msgspec.json.decode(data, type=Script),)


def arguments(description: str) -> argparse.ArgumentParser:
    """Make the command line that all fake backends share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", default="[]", help="scripts in force from the start, as JSON")
    parser.add_argument("--models", help="names or objects of the models, as a JSON list")
    return parser


def started_with(options: argparse.Namespace) -> tuple[Any, ...] | None:
    """Read the models of the command line; None when it names none."""
    if options.models is None:
        return None
    return msgspec.json.decode(options.models, type=tuple[Any, ...])


def serve(dialect: Dialect, options: argparse.Namespace) -> None:
    """Serve a dialect until SIGTERM."""

    async def main() -> None:
        stage = Stage(dialect, decode_scripts(options.script.encode()))
        await listen(stage, options.port, stage.connections)
        await until_signalled()

    run(main())

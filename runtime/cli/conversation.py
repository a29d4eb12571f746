"""A conversation in the terminal: what was said so far, and one answer streamed at a time."""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from portal.runtime.cli.banner import BETTER
from portal.runtime.cli.loop_thread import LoopThread
from portal.runtime.cli.running import find_running
from portal.runtime.cli.terminal import Terminal, clean
from portal.runtime.ops.schema import Settings
from portal.shared.errors import PortalError
from portal.shared.messages import Message
from portal.shared.turns import Error, Finish, Notice, Reasoning, Text, TurnEvent, Usage

EMBEDDED = "embedded"


class Door(Protocol):
    """Where turns are answered: the running server, or this process."""

    def answer(self, messages: Sequence[Message], model: str) -> AsyncGenerator[TurnEvent]:
        """Stream one turn; closing the iterator stops the answer."""
        ...


class Tokens(msgspec.Struct, frozen=True):
    """What the answer took; `estimated` when the backend did not count."""

    input: int
    output: int
    estimated: bool


class Answer(msgspec.Struct):
    """An answer as far as it came."""

    answer: str = ""
    reasoning: str = ""
    model: str = ""
    """`<backend>/<model>`."""
    finish_reason: str = ""
    tokens: Tokens | None = None
    error: str | None = None


class Conversation:
    """Keeps what was said; a question that got no answer at all is forgotten again."""

    def __init__(
        self,
        door: Door,
        loop: LoopThread,
        terminal: Terminal,
        model: str,
        system: str | None = None,
    ) -> None:
        self.model = model
        self._door = door
        self._loop = loop
        self._terminal = terminal
        self._system = (Message("system", system),) if system else ()
        self._said: list[Message] = []
        self._warned = False

    def forget(self) -> None:
        """Begin anew, with the same model and system prompt."""
        self._said.clear()

    def ask(self, question: str, *, as_json: bool = False) -> bool:
        """Show the answer as it comes; False when it failed, which was then told.

        KeyboardInterrupt stops the answer, and closes its connection, before it is raised on.
        """
        asked = Message("user", question)
        answer = Answer()
        view = Silent() if as_json else View(self._terminal)
        try:
            self._loop.run(self._stream(asked, answer, view))
        except PortalError as error:
            answer.error = error.message
        finally:
            view.end()
            if answer.answer:
                self._said += [asked, Message("assistant", answer.answer)]
        if as_json:
            self._terminal.json(answer, pretty=False)
        if answer.error is not None:
            self._terminal.fault(clean(answer.error))
            return False
        self._name_model(answer.model)
        return True

    async def _stream(self, asked: Message, answer: Answer, view: "View | Silent") -> None:
        messages = (*self._system, *self._said, asked)
        events = self._door.answer(messages, self.model)
        async with contextlib.aclosing(events) as source:
            async for event in source:
                match event:
                    case Text(text):
                        answer.answer += text
                        view.text(text)
                    case Reasoning(text):
                        answer.reasoning += text
                        view.reasoning(text)
                    case Usage(given, made, estimated):
                        answer.tokens = Tokens(given, made, estimated)
                    case Finish(reason, backend, model):
                        answer.finish_reason = reason
                        answer.model = f"{backend}/{model}"
                    case Notice(code, text) if code != "route":
                        view.notice(text)
                    case Error(_, message):
                        answer.error = message

    def _name_model(self, model: str) -> None:
        self._terminal.note(f"-- {clean(model)}")
        if model.startswith(f"{EMBEDDED}/") and not self._warned:
            self._warned = True
            for line in ("This is Portal's small embedded model, which is often wrong.", *BETTER):
                self._terminal.note(line)


class View:
    """Shows an answer as it comes; reasoning dim, and on a terminal only."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._thinking = False
        self._open = False

    def text(self, text: str) -> None:
        """Show visible text."""
        if self._thinking:
            self._terminal.write("\n\n")
            self._thinking = False
        text = clean(text)
        self._terminal.write(text)
        self._open = not text.endswith("\n") if text else self._open

    def reasoning(self, text: str) -> None:
        """Show a piece of the model's thinking."""
        if self._terminal.stdout.isatty():
            self._thinking = self._open = True
            self._terminal.write(clean(text), "dim")

    def notice(self, text: str) -> None:
        """Tell something beside the answer."""
        self._terminal.note(clean(text))

    def end(self) -> None:
        """End the last line."""
        if self._open:
            self._terminal.write("\n")
            self._open = False


class Silent:
    """Shows nothing: the answer is written whole at the end."""

    def text(self, text: str) -> None:
        """Show nothing."""

    def reasoning(self, text: str) -> None:
        """Show nothing."""

    def notice(self, text: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[LoopThread, Door]]:
    """Open the running Portal, or else the same application in this process, under the lock."""
    running = find_running(settings.state_dir)
    with LoopThread() as loop:
        if running is not None:
            yield loop, running
            return
        from portal.runtime.cli.in_process import OwnApplication

        own = OwnApplication(settings)
        try:
            yield loop, loop.run(own.open())
        finally:
            loop.run(own.close())

"""`portal chat`: ask a question, or hold a conversation, in the terminal."""

import argparse
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.question import as_utf8
from portal.runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from portal.runtime.cli.conversation import Conversation

NAME = "chat"
SUMMARY = "ask a question, or hold a conversation"
DESCRIPTION = (
    "Ask a question and stream the answer. Without a question: a conversation, or, when something "
    "is piped in, that as the question. Asks the running Portal; without one, answers itself."
)
READS_SETTINGS = True

HELP = "/new begins anew, /model <id> changes the model, /quit ends. Ctrl-C stops an answer."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("question", nargs="?", help="what to ask; without it, a conversation")
    parser.add_argument(
        "--model", default="auto", help="a workspace, persona or model id (default: auto)"
    )
    parser.add_argument("--system", metavar="TEXT", help="a system prompt before the conversation")
    parser.add_argument(
        "--json", action="store_true", help="write each answer whole, as one line of JSON"
    )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Ask, or talk until told to stop."""
    question = options.question
    if question is None and not terminal.stdin.isatty():
        question = terminal.stdin.read()
    if question is not None and not question.strip():
        terminal.fault("The question is empty.")
        return 2
    settings = load_settings(options, terminal).settings

    from portal.runtime.cli.conversation import Conversation, opened

    with opened(settings) as (loop, door):
        conversation = Conversation(door, loop, terminal, options.model, options.system)
        if question is not None:
            answered = conversation.ask(as_utf8(question), as_json=options.json)
            return 0 if answered else 1
        return _talk(conversation, terminal, as_json=options.json)


def _talk(conversation: "Conversation", terminal: Terminal, *, as_json: bool) -> int:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 — importing it gives input() its line editing
    terminal.note(HELP)
    while True:
        try:
            if not _turn(conversation, terminal, as_json=as_json):
                return 0
        except KeyboardInterrupt:
            terminal.say()
            terminal.note("Stopped. /quit ends the conversation.")


def _turn(conversation: "Conversation", terminal: Terminal, *, as_json: bool) -> bool:
    """Read a line and do what it says; False when it was the last."""
    try:
        line = input("> ").strip()
    except EOFError:
        terminal.say()
        return False
    command, _, rest = line.partition(" ")
    match command:
        case "":
            pass
        case "/quit" | "/exit":
            return False
        case "/new":
            conversation.forget()
            terminal.note("A new conversation.")
        case "/model" if rest.strip():
            conversation.model = rest.strip()
            terminal.note(f"Asking {conversation.model} from now on.")
        case "/model":
            terminal.note(f"Asking {conversation.model}. `portal models` lists all.")
        case _ if command.startswith("/") and command.count("/") == 1:
            terminal.note(HELP)
        case _:
            conversation.ask(as_utf8(line), as_json=as_json)
    return True

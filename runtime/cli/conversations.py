"""`portal conversations`: what was said and kept."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal, clean, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portal.runtime.cli.state_door import ConversationDoor
    from portal.shared.conversations import Conversation, Imported, StoredMessage, Transcript

NAME = "conversations"
SUMMARY = "list, show, search, rename, delete, export or import conversations"
DESCRIPTION = (
    "List your stored conversations, show or search them, rename, delete, export or import them. "
    "Asks the running Portal; without one, reads the database itself."
)
READS_SETTINGS = True
AT_ONCE = 20
"""Conversations sent together when importing."""
CHARACTERS_AT_ONCE = 4_000_000
ACTIONS = (
    ("show", (("id", "<id>"),), "read one"),
    ("search", (("text", "<text>"),), "find those that have all words of a text"),
    ("rename", (("id", "<id>"), ("title", "<title>")), "give one another title"),
    ("delete", (("id", "<id>"),), "delete one, for good"),
    ("export", (("id", "<id>"),), "write one to a file or to the terminal"),
    ("import", (("file", "<file>"),), "take over an export of Portal, ChatGPT or Open WebUI"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(action="list", limit=50)
    words = " | ".join(name for name, *_ in ACTIONS)
    actions = parser.add_subparsers(metavar=f"[list | {words}]")
    listing = actions.add_parser("list", help="list them, the newest first", allow_abbrev=False)
    listing.set_defaults(action="list")
    parsers = {"list": listing}
    for name, arguments, help_ in ACTIONS:
        parsers[name] = actions.add_parser(name, help=help_, allow_abbrev=False)
        parsers[name].set_defaults(action=name)
        for argument, metavar in arguments:
            parsers[name].add_argument(
                argument, metavar=metavar, type=Path if argument == "file" else str
            )
    for name in ("list", "search"):
        parsers[name].add_argument(
            "--limit", type=int, choices=range(1, 201), metavar="N", default=50, help="how many"
        )
    export = parsers["export"].add_argument
    export("--output", type=Path, metavar="FILE", help="where to; a file that does not exist yet")
    export("--markdown", action="store_true", help="Markdown for people, instead of JSON")
    for each in parsers.values():
        each.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="write JSON"
        )


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Do one of them."""
    settings = load_settings(options, terminal).settings

    from portal.runtime.cli.state_door import open_conversations
    from portal.shared.conversation_imports import read_export

    transcripts = read_export(options.file.read_bytes()) if options.action == "import" else []

    async def work() -> int:
        async with open_conversations(settings) as door:
            return await _do(options, terminal, door, transcripts)

    return asyncio.run(work())


async def _do(
    options: argparse.Namespace,
    terminal: Terminal,
    door: "ConversationDoor",
    transcripts: "list[Transcript]",
) -> int:
    from portal.runtime.ops.sessions import OWNER

    user = OWNER.user
    for name in ("id", "text", "title"):
        # Bytes that are no text in this terminal's encoding would end in an error further on.
        if isinstance(given := getattr(options, name, None), str):
            setattr(options, name, given.encode("utf-8", "replace").decode())
    match options.action:
        case "list":
            page = await door.list(user, limit=options.limit)
            _tell_list(options, terminal, page.data)
        case "search":
            page = await door.search(user, options.text, limit=options.limit)
            _tell_list(options, terminal, page.data)
        case "show":
            conversation = await door.get(user, options.id)
            _tell_one(options, terminal, conversation, await door.history(user, options.id))
        case "rename":
            conversation = await door.rename(user, options.id, options.title)
            _tell(options, terminal, conversation, f"It is called {conversation.title!r} now.")
        case "delete":
            await door.delete(user, options.id)
            deleted = {"id": options.id, "deleted": True}
            _tell(options, terminal, deleted, f"{options.id} is deleted.")
        case "export":
            conversation = await door.get(user, options.id)
            return _export(options, terminal, conversation, await door.history(user, options.id))
        case "import":
            imported = await _import(transcripts, door, user)
            count = len(imported.conversations)
            skipped = f", {imported.skipped} were there already" if imported.skipped else ""
            _tell(options, terminal, imported, f"{count} conversations imported{skipped}.")
    return 0


def _tell(options: argparse.Namespace, terminal: Terminal, found: object, sentence: str) -> None:
    if options.json:
        terminal.json(found)
    else:
        terminal.say(clean(sentence))


def _tell_list(
    options: argparse.Namespace, terminal: Terminal, found: "Sequence[Conversation]"
) -> None:
    if options.json:
        terminal.json({"data": found})
        return
    if not found:
        terminal.say("There are none.")
        return
    rows = [
        (
            each.id,
            f"{each.updated_at.astimezone():%Y-%m-%d %H:%M}",
            str(each.message_count),
            each.excerpt or each.title or "(no title yet)",
        )
        for each in found
    ]
    last = "FOUND" if options.action == "search" else "TITLE"
    for line in table(("ID", "LAST", "MESSAGES", last), rows):
        terminal.say(line)


def _tell_one(
    options: argparse.Namespace,
    terminal: Terminal,
    conversation: "Conversation",
    messages: "Sequence[StoredMessage]",
) -> None:
    if options.json:
        terminal.json({"conversation": conversation, "messages": messages})
        return

    from portal.shared.conversation_files import to_markdown

    terminal.say(clean(to_markdown(conversation, messages)).rstrip())


def _export(
    options: argparse.Namespace,
    terminal: Terminal,
    conversation: "Conversation",
    messages: "Sequence[StoredMessage]",
) -> int:
    from portal.shared.conversation_files import to_json, to_markdown

    if options.markdown:
        text = to_markdown(conversation, messages)
    else:
        text = to_json([(conversation, messages)]).decode()
    if options.output is None:
        terminal.write(text)
        return 0
    try:
        with options.output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        terminal.fault(f"{options.output} exists already; name a file that does not.")
        return 1
    written = {"file": str(options.output), "messages": len(messages)}
    _tell(options, terminal, written, f"{options.output} holds {len(messages)} messages.")
    return 0


async def _import(
    transcripts: "list[Transcript]", door: "ConversationDoor", user: str
) -> "Imported":
    from portal.shared.conversations import Conversation, Imported

    made: list[Conversation] = []
    skipped = 0
    while transcripts:
        part = transcripts[: _fitting(transcripts)]
        del transcripts[: len(part)]
        done = await door.bring_in(user, part)
        made += done.conversations
        skipped += done.skipped
    return Imported(tuple(made), skipped)


def _fitting(transcripts: "Sequence[Transcript]") -> int:
    """Tell how many of them make one request: so many, or so long."""
    length = 0
    for count, transcript in enumerate(transcripts[:AT_ONCE]):
        length += sum(len(message.content) for message in transcript.messages)
        if length > CHARACTERS_AT_ONCE:
            return max(1, count)
    return min(AT_ONCE, len(transcripts))

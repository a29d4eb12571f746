"""Read the exports of other programs, and Portal's own, as transcripts. Pure.

ChatGPT's `conversations.json` and Open WebUI's export hold each conversation as a tree, since
messages can be edited and answered anew; what is taken over is the branch that was shown last.
What has no text, such as an image or a call of a tool, is left out.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from portal.shared.conversation_files import FORMAT, ExportFile, to_transcript
from portal.shared.conversations import NewMessage, Speaker, Transcript
from portal.shared.errors import InvalidRequest
from portal.shared.json_body import decode_json

ROLES: Mapping[object, Speaker] = {"user": "user", "assistant": "assistant", "system": "system"}
SHOWN_TYPES = ("text", "multimodal_text")
"""Of ChatGPT's contents: those that a person sees as a message."""
THINKING = re.compile(r"<details type=\"reasoning\".*?</details>\s*", re.DOTALL)
LATEST = 253402300799.0
"""Seconds: the end of the year 9999."""
MILLISECONDS = 1e11
"""A time above this is in milliseconds: as seconds it would be in the year 5138."""

_any = msgspec.json.Decoder().decode
_own = msgspec.json.Decoder(ExportFile).decode


def read_export(data: bytes) -> list[Transcript]:
    """Read a file of any of the known kinds. Raises InvalidRequest, saying what was found."""
    found = decode_json(_any, data)
    if isinstance(found, dict) and "format" in found:
        if found["format"] != FORMAT:
            raise InvalidRequest(
                f"The file's format is {str(found['format'])[:80]!r}; this Portal reads {FORMAT!r}."
            )
        return [to_transcript(each) for each in decode_json(_own, data).conversations]
    items = found if isinstance(found, list) else [found]
    transcripts = []
    for number, item in enumerate(items, 1):
        transcript = _read_item(item)
        if transcript is None:
            raise InvalidRequest(
                f"Conversation {number} of the file is neither Portal's, ChatGPT's nor "
                "Open WebUI's; export it again from one of these, as JSON."
            )
        if transcript.messages:
            transcripts.append(transcript)
    return transcripts


def _read_item(item: Any) -> Transcript | None:
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("mapping"), dict):
        return _read_chatgpt(item)
    chat = item.get("chat", item)
    if isinstance(chat, dict) and (
        isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list)
    ):
        return _read_open_webui(item, chat)
    return None


def _read_chatgpt(item: dict[str, Any]) -> Transcript:
    tree: dict[str, Any] = item["mapping"]
    path = _path(tree, item.get("current_node"), parent="parent", children="children")
    messages = [_chatgpt_message(_dict(_dict(node).get("message"))) for node in path]
    id_ = item.get("conversation_id") or item.get("id")
    return Transcript(
        tuple(message for message in messages if message is not None),
        _text(item.get("title")),
        _time(item.get("create_time")),
        f"chatgpt:{id_}" if isinstance(id_, str) else "",
    )


def _chatgpt_message(message: dict[str, Any]) -> NewMessage | None:
    content, metadata = _dict(message.get("content")), _dict(message.get("metadata"))
    role = ROLES.get(_dict(message.get("author")).get("role"))
    shown = content.get("content_type", "text") in SHOWN_TYPES
    to_tool = message.get("recipient") not in (None, "all")
    if role is None or not shown or to_tool or metadata.get("is_visually_hidden_from_conversation"):
        return None
    text = "\n\n".join(filter(None, map(_part_text, _list(content.get("parts")))))
    if not text.strip():
        return None
    model = _text(metadata.get("model_slug")) if role == "assistant" else ""
    return NewMessage(
        role,
        text,
        created_at=_time(message.get("create_time")),
        model=f"chatgpt/{model}" if model else "",
        incomplete=message.get("status") == "in_progress",
    )


def _part_text(part: Any) -> str:
    """Read a part: text as it is, and what was spoken as text."""
    return part if isinstance(part, str) else _text(_dict(part).get("text"))


def _read_open_webui(item: dict[str, Any], chat: dict[str, Any]) -> Transcript:
    history = _dict(chat.get("history"))
    tree = _dict(history.get("messages"))
    if tree:
        path = _path(tree, history.get("currentId"), parent="parentId", children="childrenIds")
    else:
        path = _list(chat.get("messages"))
    messages = [_open_webui_message(_dict(node)) for node in path]
    id_ = item.get("id") or chat.get("id")
    return Transcript(
        tuple(message for message in messages if message is not None),
        _text(chat.get("title")) or _text(item.get("title")),
        _time(item.get("created_at")) or _time(chat.get("timestamp")),
        f"openwebui:{id_}" if isinstance(id_, str) and id_ else "",
    )


def _open_webui_message(message: dict[str, Any]) -> NewMessage | None:
    role = ROLES.get(message.get("role"))
    content = message.get("content")
    if isinstance(content, list):
        content = "\n\n".join(filter(None, map(_part_text, content)))
    text = THINKING.sub("", _text(content)) if role == "assistant" else _text(content)
    if role is None or not text.strip():
        return None
    return NewMessage(
        role,
        text,
        created_at=_time(message.get("timestamp")),
        model=_text(message.get("model")) if role == "assistant" else "",
        incomplete=role == "assistant" and message.get("done") is False,
    )


def _path(tree: dict[str, Any], end: Any, *, parent: str, children: str) -> Sequence[Any]:
    """Walk from the message that was shown last to the first one; give them in their order."""
    if not isinstance(end, str) or end not in tree:
        end = _last_leaf(tree, parent, children)
    path, seen = [], set()
    while isinstance(end, str) and end in tree and end not in seen:
        seen.add(end)
        path.append(tree[end])
        end = _dict(tree[end]).get(parent)
    return path[::-1]


def _last_leaf(tree: dict[str, Any], parent: str, children: str) -> str | None:
    """Follow the last child from the root, where nothing says which branch was shown."""
    roots = [key for key, node in tree.items() if _dict(node).get(parent) not in tree]
    end, seen = (roots[0] if roots else None), set()
    while end is not None and end not in seen:
        seen.add(end)
        following = [c for c in _list(_dict(tree[end]).get(children)) if c in tree]
        if not following:
            return end
        end = following[-1]
    return end


def _time(found: Any) -> datetime | None:
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    seconds = found / 1000 if found > MILLISECONDS else found
    return datetime.fromtimestamp(seconds, UTC) if 0 < seconds < LATEST else None


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []

"""Exports of ChatGPT and Open WebUI, in the shapes that these write."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.shared.conversation_imports import read_export
from portal.shared.errors import InvalidRequest


def _node(
    id_: str,
    parent: str | None,
    role: str,
    *parts: Any,
    children: tuple[str, ...] = (),
    **more: Any,
) -> dict[str, Any]:
    message = {
        "id": id_,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000000.25,
        "content": {"content_type": "text", "parts": list(parts)},
        "status": "finished_successfully",
        "recipient": "all",
        "metadata": {},
    }
    return {
        "id": id_,
        "message": message | more,
        "parent": parent,
        "children": list(children),
    }


CHATGPT = {
    "title": "Binary search",
    "create_time": 1700000000.0,
    "update_time": 1700000100.0,
    "mapping": {
        "root": {"id": "root", "message": None, "parent": None, "children": ["sys"]},
        "sys": _node("sys", "root", "system", "", children=("u1",)),
        "u1": _node("u1", "sys", "user", "Explain it", children=("a0", "a1")),
        "a0": _node("a0", "u1", "assistant", "An answer that was replaced"),
        "a1": _node(
            "a1",
            "u1",
            "assistant",
            "It halves.",
            children=("code",),
            metadata={"model_slug": "gpt-4o"},
        ),
        "code": _node(
            "code",
            "a1",
            "assistant",
            children=("tool",),
            recipient="python",
            content={"content_type": "code", "text": "1 + 1"},
        ),
        "tool": _node("tool", "code", "tool", "2", children=("hidden",)),
        "hidden": _node(
            "hidden",
            "tool",
            "user",
            "about me",
            children=("u2",),
            metadata={"is_visually_hidden_from_conversation": True},
        ),
        "u2": _node(
            "u2",
            "hidden",
            "user",
            {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"},
            "What is this?",
            content={
                "content_type": "multimodal_text",
                "parts": [{"content_type": "image_asset_pointer"}, "What is this?"],
            },
        ),
    },
    "current_node": "u2",
    "conversation_id": "c0ffee",
    "id": "c0ffee",
}
OPEN_WEBUI = {
    "id": "beef",
    "user_id": "u",
    "title": "Tides",
    "chat": {
        "title": "Tides",
        "models": ["qwen2.5:7b"],
        "history": {
            "messages": {
                "1": {
                    "id": "1",
                    "parentId": None,
                    "childrenIds": ["2", "3"],
                    "role": "user",
                    "content": "Why tides?",
                    "timestamp": 1700000000,
                },
                "2": {
                    "id": "2",
                    "parentId": "1",
                    "childrenIds": [],
                    "role": "assistant",
                    "content": "Wind.",
                    "model": "small:1b",
                    "timestamp": 1700000001,
                },
                "3": {
                    "id": "3",
                    "parentId": "1",
                    "childrenIds": [],
                    "role": "assistant",
                    "content": '<details type="reasoning" done="true">\nhm\n</details>\nThe moon.',
                    "model": "qwen2.5:7b",
                    "timestamp": 1700000002,
                    "done": True,
                },
            },
            "currentId": "3",
        },
        "messages": [],
        "timestamp": 1700000000123,
    },
    "created_at": 1700000000,
    "updated_at": 1700000002,
    "archived": False,
}


def _read(*items: Any) -> Any:
    return read_export(msgspec.json.encode(items))


def test_the_branch_of_chatgpt_that_was_shown_is_read_without_its_machinery() -> None:
    (found,) = _read(CHATGPT)

    assert [(each.role, each.content, each.model) for each in found.messages] == [
        ("user", "Explain it", ""),
        ("assistant", "It halves.", "chatgpt/gpt-4o"),
        ("user", "What is this?", ""),
    ]
    assert (found.title, found.origin) == ("Binary search", "chatgpt:c0ffee")
    assert found.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_the_branch_of_open_webui_that_was_shown_is_read_without_thoughts() -> None:
    (found,) = _read(OPEN_WEBUI)

    assert [(each.role, each.content, each.model) for each in found.messages] == [
        ("user", "Why tides?", ""),
        ("assistant", "The moon.", "qwen2.5:7b"),
    ]
    assert (found.title, found.origin) == ("Tides", "openwebui:beef")
    assert found.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_without_a_current_message_the_newest_branch_is_read() -> None:
    (gpt,) = _read(CHATGPT | {"current_node": None})
    assert gpt.messages[-1].content == "What is this?"


def test_an_old_list_of_open_webui_is_read_too() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    (found,) = read_export(msgspec.json.encode({"chat": {"title": "Old", "messages": messages}}))

    assert [each.content for each in found.messages] == ["Hi", "Hello"]
    assert found.title == "Old"


def test_a_tree_that_bites_its_tail_ends() -> None:
    tree = {
        "a": _node("a", "b", "user", "one", children=("b",)),
        "b": _node("b", "a", "assistant", "two", children=("a",)),
    }
    for current in ("a", None, "none", 7):
        _read({"mapping": tree, "current_node": current})


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ("mapping", "chat", "history", "messages", "message", "parent", "content", "parts",
                 "author", "role", "children", "current_node", "create_time", "id", "title")
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)  # fmt: skip


@given(found=JSON)
def test_any_json_is_read_or_refused(found: Any) -> None:
    try:
        read_export(msgspec.json.encode(found))
    except InvalidRequest:
        return


@pytest.mark.parametrize("time", [1e300, -1, True, "now", float("1e15")])
def test_a_time_that_is_none_is_left_out(time: Any) -> None:
    (found,) = _read(CHATGPT | {"create_time": time})

    assert found.created_at is None or found.created_at.year > 2000

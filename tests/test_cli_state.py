"""`portal conversations`, `backup` and `restore`: beside a running Portal, and without one."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.state.copying import NAME
from tests.conftest import StartPortal
from tests.harness import PortalProcess, run_cli

ALL = "/portal/conversations"


@pytest.fixture(params=["running", "stopped"])
def portal(request: pytest.FixtureRequest, start_portal: StartPortal) -> PortalProcess:
    """A Portal with two conversations, which runs, or ran."""
    portal = start_portal()
    for title, said in (("Garden", "How do I prune roses?"), ("Kitchen", "What is a roux?")):
        messages = [
            {"role": "user", "content": said},
            {"role": "assistant", "content": "Gently."},
        ]
        portal.client.post(ALL, json={"title": title, "messages": messages}).raise_for_status()
    if request.param == "stopped":
        portal.stop()
    return portal


def ask(portal: PortalProcess, *words: str, status: int = 0) -> Any:
    """Run a command with --json and read what it says."""
    done = run_cli(*words, "--json", portal=portal)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if status == 0 else done.stderr


def test_conversations_are_listed_searched_and_shown(portal: PortalProcess) -> None:
    listed = ask(portal, "conversations")["data"]
    (found,) = ask(portal, "conversations", "search", "prune ROSES")["data"]
    shown = ask(portal, "conversations", "show", found["id"])

    assert [each["title"] for each in listed] == ["Kitchen", "Garden"]
    assert found["title"] == "Garden"
    assert [each["content"] for each in shown["messages"]] == ["How do I prune roses?", "Gently."]
    plain = run_cli("conversations", portal=portal)
    assert plain.returncode == 0
    assert "Kitchen" in plain.stdout


def test_a_conversation_is_renamed_exported_deleted_and_imported(
    portal: PortalProcess, tmp_path: Path
) -> None:
    (found,) = ask(portal, "conversations", "search", "roux")["data"]
    file = tmp_path / "roux.json"

    renamed = ask(portal, "conversations", "rename", found["id"], "Sauces")
    ask(portal, "conversations", "export", found["id"], "--output", str(file))
    deleted = ask(portal, "conversations", "delete", found["id"])
    gone = ask(portal, "conversations", "show", found["id"], status=1)
    first = ask(portal, "conversations", "import", str(file))
    again = ask(portal, "conversations", "import", str(file))

    assert renamed["title"] == "Sauces"
    assert deleted == {"id": found["id"], "deleted": True}
    assert found["id"] in gone
    (imported,) = first["conversations"]
    assert (imported["title"], imported["message_count"]) == ("Sauces", 2)
    assert again["skipped"] == 1
    markdown = run_cli("conversations", "export", imported["id"], "--markdown", portal=portal)
    assert markdown.stdout.startswith("# Sauces")


def test_an_export_overwrites_nothing(portal: PortalProcess, tmp_path: Path) -> None:
    (found,) = ask(portal, "conversations", "search", "roux")["data"]
    file = tmp_path / "precious"
    file.write_text("photos", encoding="utf-8")

    fault = ask(portal, "conversations", "export", found["id"], "--output", str(file), status=1)

    assert "exists already" in fault
    assert file.read_text(encoding="utf-8") == "photos"


def test_text_that_is_none_is_looked_for_all_the_same(portal: PortalProcess) -> None:
    assert ask(portal, "conversations", "search", "no\udcff text")["data"] == []


def test_a_backup_is_made_and_restored_only_while_no_portal_runs(
    portal: PortalProcess, tmp_path: Path
) -> None:
    file = tmp_path / "mine.db"
    assert ask(portal, "backup", str(file))["file"] == str(file)
    (found,) = ask(portal, "conversations", "search", "roux")["data"]
    ask(portal, "conversations", "delete", found["id"])

    if portal.alive:
        assert "already running" in ask(portal, "restore", str(file), status=1)
        assert len(ask(portal, "conversations")["data"]) == 1
        portal.stop()
    restored = ask(portal, "restore", str(file))

    assert Path(restored["kept"]).exists()
    assert [each["title"] for each in ask(portal, "conversations")["data"]] == ["Kitchen", "Garden"]


def test_the_doctor_finds_a_damaged_database(start_portal: StartPortal) -> None:
    portal = start_portal()
    for n in range(30):
        messages = [{"role": "user", "content": f"{n} " + "words " * 400}]
        portal.client.post(ALL, json={"messages": messages}).raise_for_status()
    portal.stop()
    path = portal.state_dir / NAME

    def database_finding() -> dict[str, Any]:
        done = run_cli("doctor", "--json", portal=portal)
        findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
        return next(each for each in findings if each["check"] == "database")

    assert database_finding()["state"] == "ok"
    content = bytearray(path.read_bytes())
    content[-20 * 4096 :] = b"\xff" * (20 * 4096)
    path.write_bytes(content)
    finding = database_finding()

    assert finding["state"] == "fault"
    assert "restore" in finding["fix"] or "restore" in finding["found"]


def test_the_command_line_leaves_no_lock_and_no_log_behind(start_portal: StartPortal) -> None:
    portal = start_portal()
    portal.client.post(ALL, json={"title": "One"}).raise_for_status()
    portal.stop()

    assert len(ask(portal, "conversations")["data"]) == 1

    names = {each.name for each in portal.state_dir.iterdir()}
    assert f"{NAME}-wal" not in names
    assert "run.json" not in names
    with sqlite3.connect(portal.state_dir / NAME) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()

"""`portal doctor`: what it finds on a healthy machine, and each fault that it must name."""

import importlib.metadata
import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from portal.runtime.ops import doctor_machine, doctor_port
from portal.runtime.ops.findings import guarded
from portal.shared.errors import ConfigurationError
from tests.conftest import StartFake, StartPortal
from tests.harness import TRACEBACK, Fake, PortalProcess, free_port, run_cli
from tests.test_cli_chat import write_config


def diagnose(
    status: int, *, portal: PortalProcess | None = None, folder: Path | None = None, **env: str
) -> dict[str, list[dict[str, Any]]]:
    """Run the doctor, expect its exit status, and give its findings by check."""
    done = run_cli("doctor", "--json", portal=portal, folder=folder, env=env)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        assert finding["found"]
        assert (finding["state"] == "ok") == (not finding["fix"])
        found.setdefault(finding["check"], []).append(finding)
    return found


def states(found: dict[str, list[dict[str, Any]]], state: str) -> set[str]:
    """Name the checks with a finding of this state."""
    return {check for check, all_of in found.items() for each in all_of if each["state"] == state}


def test_a_healthy_machine_has_no_fault(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    found = diagnose(0, folder=tmp_path)
    assert states(found, "fault") == set()
    assert states(found, "ok") >= {
        *("python", "libraries", "clock", "configuration", "data directory", "state directory"),
        *("directories", "disk", "embedded model", "portal", "port", "backend ollama"),
    }
    assert "answered in" in found["backend ollama"][0]["found"]
    (asked,) = ollama.requests("/api/chat")
    assert asked.json["options"]["num_predict"] == 1


def test_it_is_told_to_people_too(tmp_path: Path, ollama: Fake) -> None:
    gone = {"name": "gone", "kind": "ollama", "url": f"http://127.0.0.1:{free_port()}"}
    write_config(tmp_path, backends=[ollama, gone], server={"port": free_port()})
    done = run_cli("doctor", folder=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (row,) = [index for index, line in enumerate(lines) if "backend gone" in line]
    assert lines[row].startswith("fault  ")
    assert lines[row + 1].strip().startswith("fix: ")
    assert lines[-1].endswith("1 fault, 0 warnings.")


def test_beside_a_running_portal_the_port_is_its_own(
    start_portal: StartPortal, ollama: Fake
) -> None:
    portal = start_portal(backends=[ollama])
    found = diagnose(0, portal=portal)
    assert f"pid {portal.pid}" in found["port"][0]["found"]
    assert portal.url in found["portal"][0]["found"]
    assert found["portal"][0]["state"] == "ok"


def test_a_dead_backend_is_a_fault(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    gone = {"name": "gone", "kind": "openai", "url": url}
    write_config(tmp_path, backends=[gone], server={"port": free_port()})
    found = diagnose(1, folder=tmp_path)
    assert states(found, "fault") == {"backend gone", "models"}
    assert url in found["backend gone"][0]["fix"]


def test_a_backend_without_models_is_a_fault_that_names_the_command(
    tmp_path: Path, ollama: Fake
) -> None:
    ollama.models()
    write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    found = diagnose(1, folder=tmp_path)
    assert "has no models" in found["backend ollama"][0]["found"]
    assert "ollama pull" in found["backend ollama"][0]["fix"]


def test_a_backend_that_stalls_is_a_fault_after_its_own_limit(tmp_path: Path, ollama: Fake) -> None:
    ollama.script(hang=True)
    slow = ollama.backend(first_byte_seconds=0.2, stall_seconds=0.2)
    write_config(tmp_path, backends=[slow], server={"port": free_port()})
    found = diagnose(1, folder=tmp_path)
    assert states(found, "fault") == {"backend ollama"}
    assert "does not answer" in found["backend ollama"][0]["found"]
    ollama.wait("closed", path="/api/chat")


def test_a_backend_that_lists_models_and_refuses_to_answer_is_a_fault(
    tmp_path: Path, openai_server: Fake
) -> None:
    openai_server.script(status=500, body={"error": {"message": "out of memory"}})
    write_config(tmp_path, backends=[openai_server], server={"port": free_port()})
    found = diagnose(1, folder=tmp_path)
    assert "out of memory" in found["backend openai"][0]["found"]


def test_the_smallest_chat_model_is_asked(tmp_path: Path, start_fake: StartFake) -> None:
    server = start_fake("openai_compatible", "--flavour", "vllm")
    server.models("big-70b", "nomic-embed-0.1b", "small-3b")
    write_config(tmp_path, backends=[server], server={"port": free_port()})
    diagnose(0, folder=tmp_path)
    (asked,) = server.requests("/v1/chat/completions")
    assert asked.json["model"] == "small-3b"


def test_a_port_held_by_another_program_names_it(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama], server={"port": ollama.port})
    found = diagnose(1, folder=tmp_path)
    (port,) = found["port"]
    assert port["state"] == "fault"
    if sys.platform == "linux":
        pid = ollama._program.pid
        assert f"(pid {pid})" in port["found"]
    assert "--port" in port["fix"]


def test_broken_settings_are_a_fault_and_the_rest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "portal.toml").write_text('[server]\nport = "x"\nhots = 1\n', "utf-8")
    found = diagnose(1, folder=tmp_path)
    faults = [each for each in found["configuration"] if each["state"] == "fault"]
    assert len(faults) == 2
    assert any("server.port" in each["found"] for each in faults)
    assert {"python", "disk", "port", "state directory"} <= set(found)
    (tmp_path / "portal.toml").write_text("[server\n", "utf-8")
    assert "line 1" in diagnose(1, folder=tmp_path)["configuration"][0]["found"]


def test_unknown_variables_are_a_warning(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    found = diagnose(0, folder=tmp_path, PORTAL_COLOUR="red")
    assert states(found, "warn") == {"configuration"}


def test_an_unwritable_state_directory_is_a_fault(tmp_path: Path, ollama: Fake) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    found = diagnose(1, folder=tmp_path, PORTAL_STATE_DIR=str(tmp_path / "file" / "state"))
    assert "state directory" in states(found, "fault")
    assert "PORTAL_STATE_DIR" in found["state directory"][0]["fix"]


def test_missing_weights_are_a_fault_where_they_were_named(tmp_path: Path, ollama: Fake) -> None:
    embedded = {"enabled": True, "model_path": str(tmp_path / "nowhere.gguf")}
    write_config(tmp_path, backends=[ollama], server={"port": free_port()}, embedded=embedded)
    found = diagnose(1, folder=tmp_path)
    faults = [each for each in found["embedded model"] if each["state"] == "fault"]
    assert "nowhere.gguf" in faults[0]["found"]
    assert "embedded.model_path" in faults[0]["fix"]


def test_it_makes_no_directories_where_nothing_is_installed(tmp_path: Path, ollama: Fake) -> None:
    write_config(tmp_path, backends=[ollama], server={"port": free_port()})
    diagnose(0, folder=tmp_path)
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "data").exists()


async def test_a_check_that_raises_is_a_finding() -> None:
    async def breaks() -> list[Any]:
        raise ZeroDivisionError("one by none")

    async def refuses() -> list[Any]:
        raise ConfigurationError("That is wrong.")

    (broken,) = await guarded("sums", breaks())
    assert (broken.check, broken.state) == ("sums", "fault")
    assert "ZeroDivisionError: one by none" in broken.found
    (refused,) = await guarded("sums", refuses())
    assert refused.found == "That is wrong."


def test_a_clock_that_was_never_set_is_a_fault() -> None:
    (found,) = doctor_machine.check_clock(datetime(1970, 1, 1, tzinfo=UTC))
    assert found.state == "fault"
    assert "1970" in found.found


def test_directories_inside_one_another_are_a_fault(tmp_path: Path) -> None:
    for data, state in ((tmp_path, tmp_path / "state"), (tmp_path / "data", tmp_path)):
        (found,) = doctor_machine.check_separate(data, state)
        assert found.state == "fault"
    (found,) = doctor_machine.check_separate(tmp_path / "data", tmp_path / "state")
    assert found.state == "ok"


def test_every_required_library_is_imported_by_the_names_that_it_installs() -> None:
    modules = doctor_machine.modules_of(
        {"yaml": ["PyYAML"], "_yaml": ["PyYAML"], "telegram": ["python-telegram-bot"], "a-b": ["x"]}
    )
    assert modules == {"pyyaml": ["yaml"], "python-telegram-bot": ["telegram"]}
    here = doctor_machine.modules_of(importlib.metadata.packages_distributions())
    wanted = importlib.metadata.requires("portal-local") or ()
    for each in doctor_machine.requirements(wanted, sys.platform):
        assert here[doctor_machine.normalised(each.name)], each.name


def test_requirements_are_read_without_extras_and_other_systems() -> None:
    lines = [
        "litestar<3,>=2.25",
        'uvloop<0.24,>=0.23; sys_platform != "win32"',
        'xllamacpp>=2026.10; extra == "embedded"',
    ]
    found = doctor_machine.requirements(lines, "linux")
    assert [(each.name, each.bounds) for each in found] == [
        ("litestar", "<3,>=2.25"),
        ("uvloop", "<0.24,>=0.23"),
    ]
    assert [each.name for each in doctor_machine.requirements(lines, "win32")] == ["litestar"]


@pytest.mark.parametrize(
    ("version", "right"),
    [("2.25.0", True), ("2.9.1", False), ("2.100", True), ("3.0.0", False), ("2.25rc1", True)],
)
def test_versions_are_compared_by_number(version: str, right: bool) -> None:
    assert doctor_machine.satisfies(version, "<3,>=2.25") is right


def test_listening_sockets_are_read_from_the_kernels_table() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
        "        0 4711 1 0000000000000000 100 0 0 10 0\n"
        "   1: 0100007F:1F91 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0"
        "        0 4712 1 0000000000000000 100 0 0 10 0\n"
        "   2: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0"
        "        0 4713 1 0000000000000000 100 0 0 10 0\n"
    )
    assert doctor_port.listening_inodes(table, 0x1F91) == {"4711"}
    assert doctor_port.listening_inodes("", 8081) == set()


def test_the_output_of_lsof_is_read() -> None:
    output = "p123\ncollama\nf3\np456\ncnode\n"
    assert doctor_port.parse_lsof(output) == [
        doctor_port.Holder(123, "ollama"),
        doctor_port.Holder(456, "node"),
    ]
    assert doctor_port.parse_lsof("garbage\np\n") == []


def test_the_holder_of_a_port_is_found() -> None:
    port = free_port()
    assert doctor_port.find_holders(port) == []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        holders = doctor_port.find_holders(port)
    if sys.platform == "linux":
        assert len(holders) == 1


def test_a_diagnosis_never_shows_a_traceback(tmp_path: Path) -> None:
    done = run_cli("doctor", folder=tmp_path, env={"HOME": "", "PORTAL_DATA_DIR": "\x01"})
    assert done.returncode == 1
    assert TRACEBACK not in done.stdout + done.stderr

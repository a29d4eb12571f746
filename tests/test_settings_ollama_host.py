"""`OLLAMA_HOST` means to Portal what it means to Ollama's own client."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.runtime.ops.ollama_host import parse
from portal.runtime.ops.settings import Loaded, load


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("", None),
        ("  ", None),
        ('""', None),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        (":66000", "http://127.0.0.1:11434"),
        (":-1", "http://127.0.0.1:11434"),
        ("example.com:http", "http://example.com:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("[fe80::2]:1337", "http://[fe80::2]:1337"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:1337", "http://[::1]:1337"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:1337", "http://127.0.0.1:1337"),
        ("http://0.0.0.0:1337", "http://127.0.0.1:1337"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        (' " 1.2.3.4 " ', "http://1.2.3.4:11434"),
        ("'1.2.3.4'", "http://1.2.3.4:11434"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("http://1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("https://1.2.3.4", "https://1.2.3.4:443"),
        ("https://1.2.3.4:66000", "https://1.2.3.4:443"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("https://example.com:1234/a/b/", "https://example.com:1234/a/b"),
        ("example.com/ollama", "http://example.com:11434/ollama"),
        ("ollama.com", "https://ollama.com:443"),
    ],
)
def test_the_variable_is_read_as_the_client_reads_it(value: str, address: str | None) -> None:
    assert parse(value) == address


@given(st.text())
def test_any_text_is_read_without_an_error(value: str) -> None:
    address = parse(value)
    assert address is None or "://" in address


def read(tmp_path: Path, value: str, toml: str = "") -> Loaded:
    (tmp_path / "portal.toml").write_text(toml, encoding="utf-8")
    environ = {"HOME": str(tmp_path), "OLLAMA_HOST": value}
    return load(environ=environ, cwd=tmp_path)


def test_it_adds_a_backend_behind_the_configured_ones(tmp_path: Path) -> None:
    other = '[[backends]]\nname = "b"\nkind = "openai"\nurl = "http://10.0.0.1:8000"\n'
    loaded = read(tmp_path, "10.0.0.2", other)
    assert [(b.name, b.kind, b.url) for b in loaded.settings.backends] == [
        ("b", "openai", "http://10.0.0.1:8000"),
        ("ollama", "ollama", "http://10.0.0.2:11434"),
    ]
    assert loaded.places["backends[ollama]"] == "OLLAMA_HOST"


def test_a_configured_backend_of_that_name_wins(tmp_path: Path) -> None:
    own = '[[backends]]\nname = "ollama"\nkind = "ollama"\nurl = "http://10.0.0.1:11434"\n'
    loaded = read(tmp_path, "10.0.0.2", own)
    assert [b.url for b in loaded.settings.backends] == ["http://10.0.0.1:11434"]
    assert "OLLAMA_HOST is passed over" in loaded.warnings[0]


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("10.0.0.1", "http://10.0.0.1:11434/v1"),
        ("0.0.0.0", "http://localhost:11434/"),
        ("localhost", "http://127.0.0.1:11434"),
        ("https://example.com", "https://example.com/v1/"),
    ],
)
def test_a_configured_backend_at_that_address_wins(tmp_path: Path, value: str, url: str) -> None:
    loaded = read(tmp_path, value, f'[[backends]]\nname = "b"\nkind = "openai"\nurl = "{url}"\n')
    assert [b.name for b in loaded.settings.backends] == ["b"]
    assert loaded.warnings == ()


def test_a_dotenv_may_set_it_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OLLAMA_HOST=10.0.0.3\n", encoding="utf-8")
    loaded = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert loaded.settings.backends[0].url == "http://10.0.0.3:11434"
    assert read(tmp_path, "10.0.0.2").settings.backends[0].url == "http://10.0.0.2:11434"

"""`ca_file`: whom a backend's https trusts, read once, and never a puzzle when it is wrong."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import certifi
import pytest

from portal.runtime.backends.http_backend import HTTPBackend
from portal.runtime.backends.kinds import make_backends
from portal.runtime.ops import schema
from portal.runtime.ops.certificates import trusting
from portal.runtime.ops.settings import load
from portal.shared.errors import BackendTimeout, BackendUnreachable, ConfigurationError
from tests.fakes.wire import Wire, WireServer, serving
from tests.test_transport_secure import CERTIFICATE, KEY

EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
UNENDED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"


async def script(wire: Wire) -> None:
    """Answer each request, but for the one at /held, whose answer never ends."""
    while request := await wire.request():
        if b"/held" in request.line:
            await wire.send(UNENDED)
            await wire.gone()
            return
        await wire.send(EMPTY)


@contextlib.asynccontextmanager
async def secure_server(folder: Path) -> AsyncIterator[WireServer]:
    """Answer over TLS, under a certificate that only `ca.pem` vouches for."""
    (folder / "ca.pem").write_text(CERTIFICATE, encoding="utf-8")
    (folder / "key.pem").write_text(KEY, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    async with serving(script, context=context) as server:
        yield server


@contextlib.asynccontextmanager
async def backend_of(folder: Path, server: WireServer, more: str) -> AsyncIterator[HTTPBackend]:
    """Make the backend that a configuration file describes."""
    (folder / "portal.toml").write_text(
        "[server]\nprobe = false\n"
        f'[[backends]]\nname = "far"\nkind = "openai"\nurl = "https://127.0.0.1:{server.port}"\n'
        f"total_seconds = 10\n{more}\n",
        encoding="utf-8",
    )
    (backend,) = make_backends(load(environ={"HOME": str(folder)}, cwd=folder).settings)
    try:
        yield backend
    finally:
        await backend.aclose()


async def answer_of(backend: HTTPBackend) -> bytes:
    """Ask it for something, and read the answer."""
    reply = await backend.send("/chat/completions", b"{}")
    try:
        return await reply.read(100)
    finally:
        await reply.aclose()


async def test_a_backend_with_a_certificate_of_ones_own_is_trusted(tmp_path: Path) -> None:
    async with (
        secure_server(tmp_path) as server,
        backend_of(tmp_path, server, 'ca_file = "ca.pem"') as backend,
    ):
        (tmp_path / "ca.pem").unlink()
        assert await answer_of(backend) == b"{}"


async def test_without_it_the_certificate_is_said_to_be_untrusted(tmp_path: Path) -> None:
    async with (
        secure_server(tmp_path) as server,
        backend_of(tmp_path, server, "") as backend,
    ):
        with pytest.raises(BackendUnreachable, match="certificate is not trusted"):
            await answer_of(backend)


async def test_another_authority_does_not_vouch_for_it(tmp_path: Path) -> None:
    async with (
        secure_server(tmp_path) as server,
        backend_of(tmp_path, server, f"ca_file = '{certifi.where()}'") as backend,
    ):
        with pytest.raises(BackendUnreachable, match="certificate is not trusted"):
            await answer_of(backend)


async def test_a_full_pool_is_waited_for_as_long_as_the_settings_say(tmp_path: Path) -> None:
    more = 'ca_file = "ca.pem"\nmax_connections = 1\npool_seconds = 0.05'
    async with secure_server(tmp_path) as server, backend_of(tmp_path, server, more) as backend:
        held = await backend.send("/held", b"{}")
        try:
            with pytest.raises(BackendTimeout, match=r"pool = 0\.05 s"):
                await backend.send("/more", b"{}")
        finally:
            await held.aclose()


def test_it_is_trusted_instead_of_all_others(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE, encoding="utf-8")
    context = trusting(tmp_path / "ca.pem")
    assert [found["subject"] for found in context.get_ca_certs()] == [
        ((("commonName", "localhost"),),)
    ]
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: path.write_bytes(b""), "no certificate can be read from it"),
        (lambda path: path.write_bytes(b"\x30\x82\x01\x9b"), "no certificate can be read from it"),
        (lambda path: path.write_text(KEY), "no certificate can be read from it"),
        (lambda path: path.write_text(CERTIFICATE[:300]), "no certificate can be read from it"),
        (os.mkfifo, "there is no such file"),
        (lambda path: path.symlink_to(path), "there is no such file"),
    ],
    ids=["missing", "directory", "empty", "binary", "key", "cut", "pipe", "loop"],
)
def test_a_file_without_certificates_is_a_fault_of_the_settings(
    tmp_path: Path, make: object, reason: str
) -> None:
    assert callable(make)
    make(tmp_path / "ca.pem")
    (tmp_path / "portal.toml").write_text(
        '[[backends]]\nname = "far"\nkind = "openai"\nurl = "https://a"\nca_file = "ca.pem"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError) as caught:
        load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert caught.value.message == (
        'portal.toml: backends[far].ca_file is "ca.pem", '
        f"expected a PEM file of certificates: {reason}"
    )


def test_a_file_that_goes_before_the_start_is_named(tmp_path: Path) -> None:
    settings = schema.Settings(
        data_dir=tmp_path,
        state_dir=tmp_path,
        backends=(schema.Backend("far", "openai", "https://a", ca_file=tmp_path / "gone.pem"),),
    )
    with pytest.raises(ConfigurationError, match=r"gone\.pem is no PEM file.*no such file"):
        make_backends(settings)


def test_without_https_it_would_protect_nothing_and_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(CERTIFICATE, encoding="utf-8")
    (tmp_path / "portal.toml").write_text(
        '[[backends]]\nname = "far"\nkind = "openai"\nurl = "http://a"\nca_file = "ca.pem"\n',
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError, match='"far" has a ca_file, expected https:// in its'):
        load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)

"""What a value must be beyond its type, and how a fault is worded. Pure, but for files it names.

A check takes a converted value and returns what was expected, or None when it is right.
"""

import ipaddress
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from portal.runtime.ops import keys
from portal.runtime.ops.schema import Backend

RESERVED_BACKENDS = frozenset({"embedded"})
_SHOWN = 60
_SHOWN_ITEMS = 8
_LONGEST_INT = 64
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}

Check = Callable[[object], str | None]


def host(value: object) -> str | None:
    """Check an address to listen on."""
    if isinstance(value, str) and (_is_ip(value) or _HOST_NAME.fullmatch(value)):
        return None
    return "an address or host name alone, such as 127.0.0.1, 0.0.0.0 or ::1"


def host_names(value: object) -> str | None:
    """Check names as browsers send them in the Host header, without a port."""
    if isinstance(value, tuple) and all(host(item) is None for item in value):
        return None
    return "host names alone, such as portal.example.org, without scheme or port"


def url(value: object) -> str | None:
    """Check the address of a backend."""
    wanted = "an address such as http://127.0.0.1:8000 or https://models.example.org/v1"
    parts = _split(value)
    if parts is None or parts.scheme not in _DEFAULT_PORTS:
        return wanted
    if "@" in parts.netloc:
        return "an address without user name and password: put the token into api_key"
    if "?" in str(value) or "#" in str(value):
        return f"{wanted}, without `?` and `#`"
    name = parts.hostname or ""
    if not (_is_ip(name) or _HOST_NAME.fullmatch(name)) or parts.port == 0:
        return wanted
    return None


def own_key(value: object) -> str | None:
    """Check a key that opens Portal."""
    return keys.weakness(value) if isinstance(value, str) else None


def token(value: object) -> str | None:
    """Check a token that only has to travel in a header."""
    return keys.unsendable(value) if isinstance(value, str) else None


def filled(value: object) -> str | None:
    """Check a text, or a list of texts, that must say something."""
    if isinstance(value, tuple):
        return None if all(item.strip() for item in value) else "texts that are not blank"
    return None if str(value).strip() else "text that is not blank"


def model_pattern(value: object) -> str | None:
    """Check a name that stands for models: without `/` or `*` it could match none."""
    if str(value).strip() and ("/" in str(value) or "*" in str(value)):
        return None
    return "`<backend>/<model>`, such as ollama/qwen3:8b or ollama/qwen*"


def regular_expression(value: object) -> str | None:
    """Check a regular expression, and say where it breaks."""
    text = str(value)
    wanted = "a regular expression"
    if not text.strip():
        return wanted
    try:
        with warnings.catch_warnings():  # what Python may read otherwise one day works today
            warnings.simplefilter("ignore")
            re.compile(text, re.IGNORECASE)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        return f"{wanted}, but it breaks{where}: {error.msg}"
    except (ValueError, OverflowError) as error:
        return f"{wanted}, but it breaks: {error}"
    except RecursionError:
        return f"{wanted} that is nested less deeply"
    return None


def chat_capabilities(value: object) -> str | None:
    """Check what a workspace asks of its models."""
    if isinstance(value, tuple) and "embedding" in value:
        return 'what a model can do in a chat, and so without "embedding"'
    return None


def authorities(value: object) -> str | None:
    """Check a file of certificates, by reading it."""
    from portal.runtime.ops import certificates

    reason = certificates.problem(value) if isinstance(value, Path) else None
    return f"a PEM file of certificates: {reason}" if reason else None


CHECKS: Mapping[tuple[str, ...], Check] = {
    ("router_token",): token,
    ("server", "host"): host,
    ("server", "allowed_hosts"): host_names,
    ("auth", "api_key"): own_key,
    ("backends", "url"): url,
    ("backends", "api_key"): token,
    ("backends", "ca_file"): authorities,
    ("routing", "classifier_model"): filled,
    ("models", "name"): model_pattern,
    ("rules", "pattern"): regular_expression,
    ("rules", "target"): filled,
    ("workspaces", "model"): filled,
    ("workspaces", "fallback"): filled,
    ("workspaces", "prefer"): chat_capabilities,
    ("workspaces", "require"): chat_capabilities,
}
"""By section and field; fields of one `[[backends]]` table go by `("backends", field)`."""

AS_WRITTEN = frozenset({("rules", "pattern")})
"""Fields that hold no address, so that `?` and `@` in them hide no credentials."""


def repeated(section: str, names: Sequence[str]) -> list[str]:
    """List the names that several tables of one list have."""
    return [
        f"{count} {section} are named {found(name)}, expected a name of its own for each"
        for name, count in Counter(names).items()
        if count > 1
    ]


def backend_faults(backends: Sequence[Backend]) -> list[str]:
    """List what is wrong with the configured backends, each as a whole."""
    faults = [
        f'a backend is named "{name}", which Portal keeps for itself: expected another name'
        for name in dict.fromkeys(backend.name for backend in backends)
        if name in RESERVED_BACKENDS
    ]
    faults += [
        f'the backend "{backend.name}" has a ca_file, expected https:// in its url too'
        for backend in backends
        if backend.ca_file is not None and urlsplit(backend.url).scheme != "https"
    ]
    return faults


def same_address(one: str, other: str) -> bool:
    """Tell whether two valid addresses mean one server; `/v1` and loopback's names are equal."""
    return _canonical(one) == _canonical(other)


def inside(folder: Path, other: Path) -> bool:
    """Tell whether `folder` is `other` or lies in it, links and case-blind disks included."""
    try:
        resolved, target = folder.resolve(), other.resolve()
    except (OSError, RuntimeError):  # a loop of links: nothing lies behind it
        resolved, target = folder, other
    return any(part == target or _same_file(part, target) for part in (resolved, *resolved.parents))


def found(value: object, *, secret: bool = False, as_written: bool = False) -> str:
    """Show a wrong value to its owner: short, one line, without credentials.

    `as_written`: what looks like the credentials of an address is none.
    """
    if secret:
        return "****"
    match value:
        case None:
            return "nothing"
        case str() | Path():
            return _quoted(str(value) if as_written else _without_credentials(str(value)))
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > _LONGEST_INT:
            return "a very large number"
        case int() | float():
            return str(value)
        case dict():
            return "a table"
        case [*items] if 0 < len(items) <= _SHOWN_ITEMS and all(isinstance(i, str) for i in items):
            return f"[{', '.join(found(item) for item in items)}]"
        case list() | tuple():
            return "a list"
        case _:
            return "a date or time"


def kind_of(value: object) -> str:
    """Name the kind of a value that may hold secrets, and show nothing of it."""
    match value:
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "a list"
        case _:
            return found(value)


def shown_key(key: tuple[str, ...]) -> str:
    """Show a key as its file spells it, quoted where TOML would."""
    return ".".join(
        name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else _quoted(_without_credentials(name))
        for name in key
    )


def _without_credentials(text: str) -> str:
    text = re.sub(r"(?s)^(\w+://)?.*@", r"\1****@", text)
    return re.sub(r"(?s)\?.*", "?****", text)


def _quoted(text: str) -> str:
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "…"
    shown = "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}" for character in text
    )
    return '"' + shown.replace('"', '\\"') + '"'


def _split(value: object) -> SplitResult | None:
    if not isinstance(value, str) or any(character <= " " for character in value):
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises for what is no port
    except ValueError:
        return None
    return parts


def _canonical(address: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(address)
    name = parts.hostname or ""
    name = "localhost" if name in _LOOPBACK_NAMES else name
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return parts.scheme, name, parts.port or _DEFAULT_PORTS.get(parts.scheme), path


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False

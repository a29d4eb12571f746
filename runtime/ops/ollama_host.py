"""`OLLAMA_HOST`, read as Ollama's own client reads it (its `envconfig.Host`). Pure."""

import ipaddress

DEFAULT_PORT = 11434
_PORTS = {"http": 80, "https": 443}
_LARGEST_PORT = 65535


def parse(value: str) -> str | None:
    """Turn the variable's text into the address to connect to; None when it is unset or blank.

    A bare host gets port 11434, `http://` and `https://` their own, and so does a port that is
    no port. Addresses that mean "listen everywhere" become loopback, which is where a client on
    the same machine finds that server. The result is not checked any further.
    """
    text = value.strip().strip("\"'").strip()
    if not text:
        return None
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
        default = DEFAULT_PORT
        if text == "ollama.com":
            scheme, default = "https", 443
    else:
        scheme = scheme.lower()
        default = _PORTS.get(scheme, DEFAULT_PORT)
    address, _, path = rest.partition("/")
    host, port = _split(address, default)
    where = f"{scheme}://{_reachable(host)}:{port}"
    return f"{where}/{path}".rstrip("/")


def _split(address: str, default: int) -> tuple[str, int]:
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if _is_ip(bare):
        return bare, default
    host, colon, port = address.rpartition(":")
    if not colon:
        return address, default
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))
    if digits and int(port) <= _LARGEST_PORT:
        return bare, int(port)
    return bare, default


def _reachable(host: str) -> str:
    if not host:
        return "127.0.0.1"
    if not _is_ip(host):
        return host
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return "127.0.0.1" if address.is_unspecified else host
    return "[::1]" if address.is_unspecified else f"[{host}]"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

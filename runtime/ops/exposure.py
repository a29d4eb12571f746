"""Who can reach the server, and whether a key is then required. Pure decisions over settings."""

import ipaddress

from portal.runtime.ops.keys import weakness
from portal.runtime.ops.schema import Settings
from portal.shared.errors import ConfigurationError

_WAY_OUT = (
    "set PORTAL_AUTH__API_KEY to a random key of 16 characters or more, "
    "or set server.host to 127.0.0.1"
)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the host: 127.0.0.0/8, `::1` or `localhost`.

    Brackets around an IPv6 address are allowed. Any other name is not loopback, whatever it
    resolves to, since that may change while Portal runs.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return False
    return address.is_loopback


def key_required(settings: Settings) -> bool:
    """Tell whether every caller needs a key.

    `auth.required = false` frees loopback callers of `auth.api_key`, never of the router token.
    """
    if settings.router_token is not None or not is_loopback(settings.server.host):
        return True
    if settings.auth.required is not None:
        return settings.auth.required
    return settings.auth.api_key is not None


def check_exposure(settings: Settings) -> None:
    """Refuse settings that would let other machines in without a key.

    Raises ConfigurationError, which names the way out.
    """
    host = settings.server.host
    if is_loopback(host):
        return
    exposed = f'server.host is "{host}", which other machines can reach'
    if settings.auth.required is False:
        raise ConfigurationError(
            f"{exposed}, and auth.required is false: remove auth.required, "
            "or set server.host to 127.0.0.1"
        )
    if settings.auth.api_key is not None:
        return
    if settings.router_token is None:
        raise ConfigurationError(f"{exposed}, and no key is set: {_WAY_OUT}")
    if expected := weakness(settings.router_token):
        raise ConfigurationError(
            f"{exposed}, and ROUTER_TOKEN is ****, expected {expected}: make it a stronger one, "
            "or set server.host to 127.0.0.1"
        )

"""The authorities that a backend's `ca_file` names: whom its https connections trust."""

import ssl
from pathlib import Path

from portal.shared.errors import ConfigurationError


def trusting(path: Path) -> ssl.SSLContext:
    """Make a context that trusts the authorities of a PEM file and nobody else.

    The file is read now and not again. Raises ConfigurationError.
    """
    try:
        return _read(path)
    except ValueError as error:
        raise ConfigurationError(f"{path} is no PEM file of certificates: {error}.") from error


def problem(path: Path) -> str | None:
    """Say why a file cannot be used; None when it can."""
    try:
        _read(path)
    except ValueError as error:
        return str(error)
    return None


def _read(path: Path) -> ssl.SSLContext:
    try:
        if not path.is_file():  # reading from a pipe or a terminal could wait for ever
            raise ValueError("it is a directory" if path.is_dir() else "there is no such file")
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError as error:
        raise ValueError("no certificate can be read from it") from error
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error

"""Decode outside JSON: whatever its bytes can do wrong becomes InvalidRequest."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from portal.shared.errors import InvalidRequest

Found = TypeVar("Found")
Decoded = TypeVar("Decoded")


def decode_json(decode: Callable[[Found], Decoded], found: Found) -> Decoded:
    """Run a msgspec decoder or converter. Raises InvalidRequest, naming the place and the fault."""
    try:
        return decode(found)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `")
        param = place.rstrip("`").removeprefix("$").lstrip(".") or None
        where = f" in `{param}`" if param else ""
        raise InvalidRequest(f"{reason}{where}.", param=param) from error
    except msgspec.DecodeError as error:
        if not found:
            raise InvalidRequest("The body is empty; a JSON object is expected.") from error
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid UTF-8: byte {error.object[error.start]:#04x} "
            f"at position {error.start}."
        ) from error
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error

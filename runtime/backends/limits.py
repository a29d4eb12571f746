"""How long each phase of one exchange with a backend may take."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Seconds per phase; `math.inf` for no limit."""

    connect: float = 2.0
    """To open a connection."""
    first_byte: float = 600.0
    """From the request's last byte to the answer's first; prefill on a CPU takes minutes."""
    stall: float = 120.0
    """Between two reads of the answer, and between two advances while the body is sent."""
    total: float = 3600.0
    """From the call to the answer's last byte."""
    pool: float = 60.0
    """Waiting for one of the connections to become free."""

    def crossed(self, name: str, doing: str) -> str:
        """Say which limit ended what, for the message of a timeout."""
        return f"{doing} took longer than the limit {name} = {getattr(self, name):g} s"

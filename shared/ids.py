"""Identifiers: UUIDv7 text, which sorts by the time it was made. Unique, not secret."""

import random
import time

VARIANT = "89ab"


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, 74 random ones."""
    clock = f"{time.time_ns() // 1_000_000:012x}"
    # Python seeds this generator from the system; a system call for each id would cost more
    # than the rest of it.
    noise = f"{random.getrandbits(80):020x}"
    variant = VARIANT[int(noise[3], 16) & 3]
    return f"{clock[:8]}-{clock[8:]}-7{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"

"""What a good key looks like: long, random, and fit to be sent in a header. Pure."""

import re

SHORTEST = 16
_FEWEST_DIFFERENT = 5
_FILLER = re.compile(
    "|".join(
        sorted(
            (
                "abc", "admin", "api", "bearer", "change", "default", "demo", "dummy", "example",
                "fixme", "foo", "bar", "goes", "here", "insert", "key", "local", "me", "my", "none",
                "null", "openai", "pass", "password", "paste", "placeholder", "portal", "put",
                "qwerty", "replace", "router", "sample", "secret", "set", "sk", "some", "test",
                "the", "this", "todo", "token", "value", "with", "word", "x", "your",
            ),
            key=len,
            reverse=True,
        )
    )
)  # fmt: skip
_RUNS = ("0123456789" * 20, "9876543210" * 20, "abcdefghijklmnopqrstuvwxyz" * 8)


def weakness(key: str) -> str | None:
    """Say what a key of Portal's own should have been; None when it is good."""
    if expected := unsendable(key):
        return expected
    if is_placeholder(key):
        return "a random key instead of a placeholder"
    if len(key) < SHORTEST:
        return f"a random key of {SHORTEST} characters or more"
    return None


def unsendable(key: str) -> str | None:
    """Say what a token should have been to be sent in a header; None when it can be."""
    if all("!" <= character <= "~" for character in key):
        return None
    return "visible ASCII characters without spaces"


def is_placeholder(key: str) -> bool:
    """Tell whether somebody forgot to fill in a key: `changeme`, `your-key-here`, `sk-xxxx…`.

    Such a key has almost no different characters, is a run of the alphabet or of digits, or
    consists of nothing but the words that example files use.
    """
    if len(set(key)) < _FEWEST_DIFFERENT:
        return True
    text = re.sub(r"[^a-z0-9]", "", key.lower())
    if not text or any(text in run for run in _RUNS):
        return bool(text)
    return not text.isdigit() and not re.sub(r"\d", "", _FILLER.sub("", text))

"""A question from the command line: its words, or what is piped in."""

from portal.runtime.cli.terminal import Terminal


def read_words(given: str | None, terminal: Terminal) -> str | None:
    """Give the question as UTF-8 text; None where there is none, which was then told."""
    if given is None and not terminal.stdin.isatty():
        given = terminal.stdin.read()
    if given is None:
        terminal.fault("There is no question; write it in quotes, or pipe it in.")
        return None
    if not given.strip():
        terminal.fault("The question is empty.")
        return None
    return as_utf8(given)


def as_utf8(text: str) -> str:
    """Replace what is not UTF-8: such bytes of the command line cannot be sent on."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

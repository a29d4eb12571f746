"""One-time links and the page sessions they open."""

import pytest

from portal.runtime.ops import sessions as module
from portal.runtime.ops.sessions import OWNER, PageSessions
from portal.shared.contract import Scope
from portal.shared.errors import Forbidden


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_link_opens_one_session_once() -> None:
    sessions = PageSessions()
    link = sessions.new_link()
    assert sessions.caller(sessions.open(link)) == OWNER
    with pytest.raises(Forbidden, match="portal status"):
        sessions.open(link)


def test_a_session_of_the_owner_administers() -> None:
    assert OWNER.may(Scope.ADMIN)
    assert not OWNER.may(Scope.WEBHOOK)


@pytest.mark.parametrize("token", ["", "wrong", "\ud800", "x" * 10_000])
def test_unknown_tokens_are_nobody(token: str) -> None:
    sessions = PageSessions()
    sessions.open(sessions.new_link())
    assert sessions.caller(token) is None
    with pytest.raises(Forbidden):
        sessions.open(token)


def test_links_and_sessions_grow_old() -> None:
    clock = Clock()
    sessions = PageSessions(clock)
    old, fresh = sessions.new_link(), sessions.new_link()
    token = sessions.open(fresh)
    clock.now += module.LINK_SECONDS + 1
    with pytest.raises(Forbidden):
        sessions.open(old)
    assert sessions.caller(token) == OWNER
    clock.now += module.SESSION_SECONDS
    assert sessions.caller(token) is None


def test_the_number_of_links_is_bounded_and_the_oldest_go() -> None:
    sessions = PageSessions()
    first = sessions.new_link()
    last = [sessions.new_link() for _ in range(module.KEPT)][-1]
    with pytest.raises(Forbidden):
        sessions.open(first)
    assert sessions.open(last)

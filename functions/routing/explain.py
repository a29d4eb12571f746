"""POST /portal/route: say which models would be tried for a question, and why; run nothing."""

from typing import Protocol

from portal.shared.contract import Route, Scope
from portal.shared.decisions import Decision
from portal.shared.ports import HasCall, HasRouting
from portal.shared.route_request import RouteQuestion, read_question

ROUTE = Route("POST", "/portal/route", Scope.CHAT)

Request = RouteQuestion


class Needs(HasCall, HasRouting, Protocol):
    """Decisions."""


async def handle(request: Request, context: Needs) -> Decision:
    return await context.routing.explain(context.call, read_question(request))

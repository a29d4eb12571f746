"""Litestar as a host: a route handler per ROUTE function, and the rules that precede routing."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Request, Response, route
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from portal.runtime.catalogue import SEGMENT, Function
from portal.runtime.hosts.adapter import Host, mount
from portal.runtime.hosts.errors import answer_for, error_body, error_headers
from portal.runtime.hosts.gate import LOCAL
from portal.runtime.hosts.reply import Headers, send_error, truth_headers
from portal.shared.contract import Call, Route
from portal.shared.errors import InvalidRequest, NotFound, PortalError, WrongMethod
from portal.shared.ids import new_id

log = logging.getLogger("portal.host")
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]
CATCH_ALL = re.compile(r"/[a-z0-9]+/\{[a-z_]+:path\}")
"""A route that takes what no other does: by it alone, a path does not exist in other methods."""


class Application(Litestar):
    """Litestar, with Portal's admission before anything is routed."""

    host: Host
    fixed: dict[tuple[str, str], ASGIApp]
    """Applications by method and path, of the routes without segments."""
    named: re.Pattern[str]
    """Matches the paths that some route has but for those that take whatever is left."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Admit the request, then run its route: at once where the path says all of it."""
        if scope["type"] == "http":
            try:
                scope["portal.head"] = self.host.gate.admit(scope["method"], scope["headers"])
            except PortalError as error:
                await send_error(send, error, _call_of_nothing(), scope["path"])
                return
            application = self.fixed.get((scope["method"], scope["path"]))
            if application is not None:
                scope["path_params"] = {}
                await application(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def build_application(
    host: Host, functions: Sequence[Function], lifespan: Sequence[Lifespan]
) -> Application:
    """Mount every ROUTE function; Litestar's own data binding and OpenAPI are off."""
    routes = [
        (mount(host, function), function, function.trigger)
        for function in functions
        if isinstance(function.trigger, Route)
    ]
    methods: dict[str, set[str]] = {}
    for _, _, trigger in routes:
        methods.setdefault(trigger.path, set()).update(_methods(trigger))
    application = Application(
        route_handlers=[
            # First, since Litestar adds one of its own to a path that has none yet.
            *(_options(path, found) for path, found in methods.items()),
            *(_handler(*route) for route in routes),
        ],
        lifespan=list(lifespan),
        openapi_config=None,
        exception_handlers={
            NotFoundException: _not_found,
            MethodNotAllowedException: _wrong_method,
            HTTPException: _other,
            Exception: _failed,
        },
        logging_config=None,
    )
    application.host = host
    application.named = _pattern(trigger.path for _, _, trigger in routes)
    application.fixed = {
        (method, trigger.path): mounted
        for mounted, _, trigger in routes
        if not SEGMENT.search(trigger.path)
        for method in _methods(trigger)
    }
    return application


def _handler(application: ASGIApp, function: Function, trigger: Route) -> HTTPRouteHandler:

    @route(
        _litestar_path(trigger.path),
        http_method=_methods(trigger),
        status_code=200,  # of no effect but on DELETE, where Litestar would allow no body
        name=function.name,
        include_in_schema=False,
    )
    async def endpoint() -> ASGIApp:
        return application

    return endpoint


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    """Answer OPTIONS on one path, which Litestar would do without Portal's headers."""
    allow = ", ".join(sorted({*methods, "OPTIONS"}))

    @route(_litestar_path(path), http_method=["OPTIONS"], include_in_schema=False, status_code=204)
    async def options(request: Request[Any, Any, Any]) -> Response[None]:
        return Response(
            None, status_code=204, headers=_text([(b"allow", allow.encode()), *_own_headers()])
        )

    return options


def _pattern(paths: Iterable[str]) -> re.Pattern[str]:
    """Match what these paths do, catch-alls left out."""
    own = {re.escape(path) for path in paths if not CATCH_ALL.fullmatch(path)}
    segment = re.compile(r"\\\{[a-z0-9_]+(:path)?\\\}")
    return re.compile(
        "|".join(segment.sub(lambda found: ".+" if found[1] else "[^/]+", path) for path in own)
    )


def _litestar_path(path: str) -> str:
    return SEGMENT.sub(lambda found: f"{{{found[1]}{found[2] or ':str'}}}", path)


def _methods(trigger: Route) -> list[Any]:
    return ["GET", "HEAD"] if trigger.method == "GET" else [trigger.method]


def _own_headers() -> Headers:
    return truth_headers(_call_of_nothing())


def _text(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def _call_of_nothing() -> Call:
    return Call(new_id(), LOCAL, "", time.perf_counter())


def _answer(
    request: Request[Any, Any, Any], error: Exception, status: int | None = None
) -> Response[bytes]:
    return Response(
        error_body(error, request.url.path),
        status_code=status or answer_for(error).status,
        media_type="application/json",
        headers=_text([*error_headers(error), *_own_headers()]),
    )


def _not_found(request: Request[Any, Any, Any], _: NotFoundException) -> Response[bytes]:
    return _answer(
        request,
        NotFound(
            f"There is no {request.method} {request.url.path[:200]}; "
            "GET /openapi.json lists every route."
        ),
    )


def _wrong_method(
    request: Request[Any, Any, Any], error: MethodNotAllowedException
) -> Response[bytes]:
    app: Any = request.app
    if not app.named.fullmatch(request.url.path.rstrip("/") or "/"):
        return _not_found(request, NotFoundException())
    allow = (error.headers or {}).get("allow", "")
    allowed = tuple(sorted(name.strip() for name in allow.split(",") if name.strip()))
    return _answer(
        request,
        WrongMethod(
            f"{request.url.path[:200]} does not take {request.method}; it takes "
            f"{', '.join(allowed)}.",
            allowed=allowed,
        ),
    )


def _other(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if error.status_code >= 500:
        return _failed(request, error)
    return _answer(
        request,
        InvalidRequest(f"The request cannot be routed: {error.detail}."),
        error.status_code,
    )


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer what went wrong outside any function, where the adapter does not see it."""
    answer = _answer(request, error)
    call = answer.headers["x-request-id"]
    log.error("%s failed (request %s)", request.url.path[:200], call, exc_info=error)
    return answer

"""GET /metrics: figures of this process for Prometheus."""

from typing import Protocol

import msgspec

from portal.shared.contract import RawReply, Route, Scope
from portal.shared.ports import HasMetrics

ROUTE = Route("GET", "/metrics", Scope.METRICS)
TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Request(msgspec.Struct, frozen=True):
    """Nothing to say."""


class Needs(HasMetrics, Protocol):
    """The figures."""


async def handle(request: Request, context: Needs) -> RawReply:
    return RawReply(200, ((b"content-type", TYPE),), context.metrics.exposition())

"""Describe the catalogue: an OpenAPI 3.1 document, and a page of it that needs no network."""

import html
import re
import types
import typing
from collections.abc import Sequence
from typing import Any

import msgspec

from portal.runtime.catalogue import SEGMENT, Function, describe
from portal.runtime.ops.version import version
from portal.shared.contract import InHeader, InPath, InQuery, Route, Scope
from portal.shared.models import FunctionInfo

REFERENCE = "#/components/schemas/{name}"
PLACES: dict[Any, str] = {InPath: "path", InQuery: "query", InHeader: "header"}


class Catalogue:
    """Implements the Documentation port; everything is made once, when it is first asked for."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._functions = functions
        self._openapi: bytes | None = None

    def functions(self) -> Sequence[FunctionInfo]:
        return describe(self._functions)

    def openapi(self) -> bytes:
        if self._openapi is None:
            self._openapi = msgspec.json.encode(build_document(self._functions))
        return self._openapi

    def page(self) -> str:
        return build_page(describe(self._functions))


class ErrorDetail(msgspec.Struct):
    """What went wrong, in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    """The body of every error."""

    error: ErrorDetail


def build_document(functions: Sequence[Function]) -> dict[str, Any]:
    """Build the OpenAPI document; names every ROUTE function."""
    routed = [each for each in functions if isinstance(each.trigger, Route)]
    structs: list[Any] = [ErrorBody]
    for function in routed:
        structs += [*_structs(function.accepts), *_structs(function.answers)]
    schemas, components = msgspec.json.schema_components(structs, ref_template=REFERENCE)
    known = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for function in routed:
        route = typing.cast("Route", function.trigger)
        path = SEGMENT.sub(lambda found: f"{{{found[1]}}}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(function, route, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Portal",
            "version": version(),
            "description": "A local-first AI platform: your models behind one address.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(function: Function, route: Route, known: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": function.name,
        "summary": function.summary.partition(": ")[2] or function.summary,
        "tags": [function.name.partition(".")[0]],
        "x-portal-scope": route.scope.value,
        "security": [{}] if route.scope is Scope.PUBLIC else [{"bearer": []}, {}],
        "responses": {
            "200": {"description": "Done", **_content(function.answers, known)},
            "default": {
                "description": "Refused or failed",
                "content": {"application/json": {"schema": known[ErrorBody]}},
            },
        },
    }
    parameters = [
        {
            "name": field.wire,
            "in": PLACES[field.source],
            "required": field.required or field.source is InPath,
            "schema": msgspec.json.schema(field.type),
        }
        for field in function.fields
    ]
    named = {parameter["name"] for parameter in parameters}
    parameters += [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name, _ in SEGMENT.findall(route.path)
        if name not in named
    ]
    if parameters:
        operation["parameters"] = parameters
    if function.accepts is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": known[function.accepts]}},
        }
    return operation


def _structs(annotation: Any) -> list[Any]:
    """Find the structs that a result's annotation names, besides the contract's own kinds."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return [found for part in typing.get_args(annotation) for found in _structs(part)]
    if (
        isinstance(annotation, type)
        and issubclass(annotation, msgspec.Struct)
        and annotation.__module__ != "portal.shared.contract"
    ):
        return [annotation]
    return []


def _content(answers: Any, known: dict[Any, Any]) -> dict[str, Any]:
    found = [known[each] for each in _structs(answers)]
    if not found:
        return {}
    schema = found[0] if len(found) == 1 else {"anyOf": found}
    return {"content": {"application/json": {"schema": schema}}}


def build_page(rows: Sequence[FunctionInfo]) -> str:
    """Write the functions as an HTML page without script, styled by the page's own sheet."""
    groups: dict[str, list[FunctionInfo]] = {}
    for row in rows:
        groups.setdefault(row.name.partition(".")[0], []).append(row)
    sections = []
    for group, members in groups.items():
        body = "".join(
            f"<tr><td><code>{html.escape(row.detail)}</code></td>"
            f"<td>{_inline(row.summary)}</td><td>{html.escape(row.scope)}</td></tr>"
            for row in members
        )
        sections.append(
            f"<h2>{html.escape(group)}</h2><table><thead><tr><th>Trigger</th>"
            f"<th>What it does</th><th>Scope</th></tr></thead><tbody>{body}</tbody></table>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Portal {html.escape(version())}: the API</title>"
        '<link rel="stylesheet" href="/assets/style.css"></head><body class="docs"><main>'
        f"<h1>Portal {html.escape(version())}</h1>"
        '<p>Every function of this server. The schemas are in <a href="/openapi.json">'
        'openapi.json</a>; the chat is <a href="/">here</a>.</p>'
        f"{''.join(sections)}</main></body></html>"
    )


def _inline(summary: str) -> str:
    text = html.escape(summary.partition(": ")[2] or summary)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)

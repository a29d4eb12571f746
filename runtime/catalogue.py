"""Discover the functions under `portal.functions`, and bind each one once.

Owns what a function must look like, and says so when one does not. Mounts nothing itself.
"""

import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from portal.shared.contract import (
    Event,
    InHeader,
    InPath,
    InQuery,
    RawRequest,
    Route,
    Schedule,
    Tool,
    Trigger,
)
from portal.shared.errors import ConfigurationError, InvalidRequest
from portal.shared.json_body import decode_json
from portal.shared.models import FunctionInfo

TRIGGERS: Mapping[str, type] = {
    "ROUTE": Route,
    "EVENT": Event,
    "SCHEDULE": Schedule,
    "TOOL": Tool,
}
SEGMENT = re.compile(r"\{([a-z_][a-z0-9_]*)(:path)?\}")


class Field(msgspec.Struct, frozen=True):
    """A request field that does not come from the body."""

    key: str
    """As the struct's own decoder names it."""
    wire: str
    """As it stands in the path, the query or the headers."""
    source: type
    type: Any
    required: bool


class Function(msgspec.Struct, frozen=True):
    """One function, bound: all that a host needs to run it."""

    name: str
    trigger: Trigger
    summary: str
    handle: Callable[[Any, Any], Any]
    blocking: bool
    """A plain `def`: runs in a worker thread."""
    request: type
    fields: tuple[Field, ...]
    accepts: type | None
    """The body's schema; None when there is no body."""
    answers: Any
    decode: Callable[[RawRequest], Any]
    """RawRequest to the function's own request. Raises InvalidRequest."""


def discover(package: str = "portal.functions", *, context: type | None = None) -> list[Function]:
    """Import every module below `package` and bind it; `context` must offer what each one needs.

    Raises ConfigurationError with one line per fault, each naming the file and what was found.
    """
    functions: list[Function] = []
    faults: list[str] = []
    for name in _modules(package):
        try:
            module = importlib.import_module(f"{package}.{name}")
            functions.append(bind(name, module, context=context))
        except ConfigurationError as error:
            faults.append(error.message)
        except Exception as error:  # noqa: BLE001 — an import may raise anything; all are told
            faults.append(f"{package}.{name}: it cannot be imported ({error!r}); mend it")
    faults.extend(_collisions(functions))
    if faults:
        raise ConfigurationError("\n".join(faults))
    return functions


def bind(name: str, module: types.ModuleType, *, context: type | None = None) -> Function:
    """Check one module against the contract and bind it. Raises ConfigurationError."""

    def fault(found: str, right: str) -> ConfigurationError:
        return ConfigurationError(f"{module.__file__ or name}: {found}; {right}")

    present = [constant for constant in TRIGGERS if hasattr(module, constant)]
    if len(present) != 1:
        found = " and ".join(present) if present else "no trigger"
        raise fault(f"found {found}", f"a function has exactly one of {', '.join(TRIGGERS)}")
    trigger: Any = getattr(module, present[0])
    if not isinstance(trigger, TRIGGERS[present[0]]):
        raise fault(
            f"{present[0]} is {type(trigger).__name__}",
            f"it must be {TRIGGERS[present[0]].__name__}(…)",
        )
    summary = (module.__doc__ or "").strip().partition("\n")[0]
    if not summary:
        raise fault("found no docstring", "its first line is the function's documentation")
    handle = getattr(module, "handle", None)
    if not inspect.isfunction(handle) or handle.__module__ != module.__name__:
        raise fault("found no handle", "a function defines handle(request, context)")
    if inspect.isasyncgenfunction(handle):
        raise fault("handle is a generator", "return a Stream of one instead")
    if list(inspect.signature(handle).parameters) != ["request", "context"]:
        raise fault(
            f"handle takes {inspect.signature(handle)}", "its parameters are (request, context)"
        )
    try:
        hints = typing.get_type_hints(handle, include_extras=True)
    except (NameError, TypeError) as error:
        raise fault(f"handle's annotations fail ({error})", "annotate with real names") from error
    request: Any = hints.get("request")
    if request is not RawRequest and not _is_struct(request):
        raise fault(
            f"handle's request is {_show(request)}", "it must be a msgspec Struct or RawRequest"
        )
    needs: Any = hints.get("context")
    if needs is None or getattr(module, "Needs", None) is not needs:
        raise fault(f"handle's context is {_show(needs)}", "it must be this module's Needs")
    if not getattr(needs, "_is_protocol", False):
        raise fault("Needs is not a protocol", "write class Needs(Has…, Protocol)")
    if context is not None:
        ports = _members(typing.cast("type", needs))
        missing = sorted(port for port in ports if not hasattr(context, port))
        if missing:
            raise fault(f"Needs asks for {', '.join(missing)}", "the context has no such port")
    if "return" not in hints:
        raise fault("handle's result is not annotated", "say what it returns")
    fields = () if request is RawRequest else _fields(request)
    if isinstance(trigger, Route):
        _check_route(trigger, request, fields, fault)
    accepts = getattr(module, "ACCEPTS", None) if request is RawRequest else _body(request, fields)
    return Function(
        name=name,
        trigger=typing.cast("Trigger", trigger),
        summary=summary,
        handle=handle,
        blocking=not inspect.iscoroutinefunction(handle),
        request=request,
        fields=fields,
        accepts=accepts,
        answers=getattr(module, "ANSWERS", hints["return"]),
        decode=_decoder(request, fields, has_body=accepts is not None),
    )


def describe(functions: Iterable[Function]) -> list[FunctionInfo]:
    """List functions the way `portal functions` and the docs show them."""
    rows = []
    for function in sorted(functions, key=lambda each: each.name):
        name, summary = function.name, function.summary
        match function.trigger:
            case Route(method, path, scope):
                row = FunctionInfo(name, "route", f"{method} {path}", scope.value, summary)
            case Event(topic):
                row = FunctionInfo(name, "event", topic, summary=summary)
            case Schedule(when):
                row = FunctionInfo(name, "schedule", when, summary=summary)
            case Tool(category):
                row = FunctionInfo(name, "tool", category, summary=summary)
        rows.append(row)
    return rows


def _modules(package: str) -> Iterable[str]:
    """Name every module below a package, without the package's own name."""

    def told(name: str) -> None:
        raise ConfigurationError(f"{name}: this folder cannot be imported; mend its __init__.py")

    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=told):
        if not found.ispkg:
            yield found.name.removeprefix(f"{package}.")


def _collisions(functions: Iterable[Function]) -> list[str]:
    seen: dict[object, str] = {}
    faults = []
    for function in functions:
        match function.trigger:
            case Route(method, path):
                # Names of segments do not tell two paths apart.
                key: object = (method, SEGMENT.sub("{}", path))
                label = f"{method} {path}"
            case Event(topic):
                key = label = f"event {topic}"
            case Tool():
                key = label = f"tool {function.name.rpartition('.')[2]}"
            case Schedule():
                continue
        if key in seen:
            faults.append(f"{label}: claimed by both {seen[key]} and {function.name}; keep one")
        seen.setdefault(key, function.name)
    return faults


def _is_struct(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, msgspec.Struct)


def _show(found: Any) -> str:
    return "not annotated" if found is None else getattr(found, "__name__", str(found))


def _members(needs: type) -> frozenset[str]:
    """Names that a protocol and its parents ask for."""
    names: set[str] = set()
    for parent in needs.__mro__:
        if parent in (object, Protocol, typing.Generic):
            continue
        names.update(getattr(parent, "__annotations__", ()))
        names.update(name for name in vars(parent) if not name.startswith("_"))
    return frozenset(names)


def _fields(request: type) -> tuple[Field, ...]:
    hints = typing.get_type_hints(request, include_extras=True)
    found = []
    for field in msgspec.structs.fields(request):
        marks = getattr(hints[field.name], "__metadata__", ())
        for mark in marks:
            if isinstance(mark, InPath | InQuery | InHeader):
                wire = field.encode_name
                if isinstance(mark, InHeader):
                    wire = wire.replace("_", "-").lower()
                found.append(
                    Field(field.encode_name, wire, type(mark), hints[field.name], field.required)
                )
    return tuple(found)


def _body(request: type, fields: tuple[Field, ...]) -> type | None:
    return request if len(msgspec.structs.fields(request)) > len(fields) else None


def _check_route(
    route: Route,
    request: type,
    fields: tuple[Field, ...],
    fault: Callable[[str, str], ConfigurationError],
) -> None:
    if not route.path.startswith("/"):
        raise fault(f"the path is {route.path!r}", "it starts with /")
    inner = [found for found in SEGMENT.finditer(route.path) if found.end() < len(route.path)]
    if re.search("[{}]", SEGMENT.sub("", route.path)) or any(found[2] for found in inner):
        raise fault(
            f"the path is {route.path!r}",
            "segments are {lower_case}, and {name:path} may only be the last",
        )
    segments = {found[0] for found in SEGMENT.findall(route.path)}
    if request is RawRequest:
        return
    marked = {field.wire for field in fields if field.source is InPath}
    if segments != marked:
        raise fault(
            f"the path has {sorted(segments) or 'no segments'}, Request marks {sorted(marked)}",
            "mark the same names with Path",
        )
    if route.method == "GET" and _body(request, fields) is not None:
        raise fault("a GET has body fields", "mark each field with Path, Query or Header")


def _decoder(
    request: type, fields: tuple[Field, ...], *, has_body: bool
) -> Callable[[RawRequest], Any]:
    if request is RawRequest:
        return lambda raw: raw
    if not fields:
        if not has_body:
            empty = request()
            return lambda raw: empty
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(request)
        return lambda raw: decode_json(decoder.decode, raw.body)

    def decode(raw: RawRequest) -> Any:
        merged: dict[str, Any] = {}
        if has_body:
            body = decode_json(msgspec.json.decode, raw.body)
            if not isinstance(body, dict):
                raise InvalidRequest("The body must be a JSON object.")
            merged.update(body)
        for field in fields:
            merged.pop(field.key, None)
            value = _outside(field, raw)
            if value is not None:
                merged[field.key] = value
        return decode_json(lambda found: msgspec.convert(found, request), merged)

    return decode


def _outside(field: Field, raw: RawRequest) -> Any:
    sources: dict[Any, tuple[str, Mapping[str, str]]] = {
        InPath: ("path", raw.params),
        InQuery: ("query parameter", raw.query),
        InHeader: ("header", raw.headers),
    }
    place, values = sources[field.source]
    text = values.get(field.wire)
    if text is None:
        if field.required:
            raise InvalidRequest(f"The {place} `{field.wire}` is missing.", param=field.wire)
        return None
    try:
        return msgspec.to_builtins(msgspec.convert(text, field.type, strict=False))
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"The {place} `{field.wire}` is {text[:80]!r}: {error}.", param=field.wire
        ) from error

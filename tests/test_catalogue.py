"""What a function must look like, and what is said of one that does not."""

import sys
import types
from pathlib import Path as FilePath
from typing import Any, Protocol

import msgspec
import pytest

from portal.runtime.catalogue import bind, describe, discover
from portal.runtime.context import CallContext
from portal.shared.contract import (
    Context,
    Event,
    Header,
    Path,
    Query,
    RawReply,
    RawRequest,
    Route,
    Schedule,
    Scope,
    Tool,
)
from portal.shared.errors import ConfigurationError, InvalidRequest


class Request(msgspec.Struct, frozen=True):
    """Nothing."""


class Needs(Context, Protocol):
    """Nothing."""


def module(**changes: Any) -> types.ModuleType:
    """Make a good function's module, changed; None takes a name away."""
    made = types.ModuleType("made.up", "GET /made: up.")
    made.__file__ = "functions/made/up.py"

    async def handle(request: Request, context: Needs) -> RawReply:
        return RawReply(204, (), b"")

    handle.__module__ = "made.up"
    names: dict[str, Any] = {
        "ROUTE": Route("GET", "/made", Scope.CHAT),
        "Request": Request,
        "Needs": Needs,
        "handle": handle,
    }
    for name, value in {**names, **changes}.items():
        if value is not None:
            setattr(made, name, value)
    return made


def of_request(request: type) -> Any:
    """Make a handle that takes this request."""

    async def handle(request: Any, context: Needs) -> RawReply:
        return RawReply(204, (), b"")

    handle.__module__ = "made.up"
    handle.__annotations__["request"] = request
    return handle


def raw(**fields: Any) -> RawRequest:
    """Make a raw request out of what matters."""
    base: dict[str, Any] = {
        "method": "POST",
        "path": "/made",
        "params": {},
        "query": {},
        "headers": {},
        "body": b"",
    }
    return RawRequest(**{**base, **fields})


def install(monkeypatch: pytest.MonkeyPatch, modules: dict[str, types.ModuleType]) -> None:
    """Let a package `made` hold these modules."""
    monkeypatch.setattr("portal.runtime.catalogue._modules", lambda _: list(modules))
    for name, found in modules.items():
        monkeypatch.setitem(sys.modules, f"made.{name}", found)


def fault_of(made: types.ModuleType) -> str:
    """Bind, and return what is said against it."""
    with pytest.raises(ConfigurationError) as caught:
        bind("made.up", made, context=CallContext)
    return caught.value.message


def test_every_shipped_function_binds_and_its_ports_exist() -> None:
    functions = discover(context=CallContext)
    names = {function.name for function in functions}
    assert {"openai.chat_completions", "system.health", "turns.create"} <= names
    assert len(names) == len(functions)


def test_a_good_module_binds_under_its_dotted_name() -> None:
    function = bind("made.up", module(), context=CallContext)
    assert (function.name, function.summary) == ("made.up", "GET /made: up.")
    assert not function.blocking


@pytest.mark.parametrize(
    "trigger",
    [
        {"ROUTE": None, "EVENT": Event("made.up")},
        {"ROUTE": None, "SCHEDULE": Schedule("5m")},
        {"ROUTE": None, "TOOL": Tool("made")},
    ],
)
def test_each_of_the_other_triggers_binds(trigger: dict[str, Any]) -> None:
    function = bind("made.up", module(**trigger), context=CallContext)
    assert function.trigger in trigger.values()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ROUTE": None}, "no trigger"),
        ({"EVENT": Event("x")}, "ROUTE and EVENT"),
        ({"ROUTE": "GET /made"}, "ROUTE is str"),
        ({"__doc__": ""}, "no docstring"),
        ({"handle": None}, "no handle"),
        ({"Needs": None}, "must be this module's Needs"),
        ({"ROUTE": Route("GET", "made", Scope.CHAT)}, "starts with /"),
        ({"ROUTE": Route("GET", "/made/{id}", Scope.CHAT)}, "mark the same names with Path"),
        ({"ROUTE": Route("GET", "/made/{Id}", Scope.CHAT)}, "segments are {lower_case}"),
        ({"ROUTE": Route("GET", "/{a:path}/made", Scope.CHAT)}, "may only be the last"),
    ],
)
def test_a_missing_or_wrong_piece_is_named_with_its_file(
    changes: dict[str, Any], said: str
) -> None:
    message = fault_of(module(**changes))
    assert message.startswith("functions/made/up.py: ")
    assert said in message


def test_a_handle_with_other_parameters_is_refused() -> None:
    async def handle(request: Request) -> None: ...

    handle.__module__ = "made.up"
    assert "(request, context)" in fault_of(module(handle=handle))


def test_a_request_that_is_no_struct_is_refused() -> None:
    assert "must be a msgspec Struct" in fault_of(module(handle=of_request(dict)))


def test_a_port_that_the_context_lacks_is_refused_by_name() -> None:
    class Greedy(Context, Protocol):
        @property
        def moon(self) -> str: ...

    async def handle(request: Request, context: Greedy) -> None: ...

    handle.__module__ = "made.up"
    handle.__annotations__["context"] = Greedy
    assert "asks for moon" in fault_of(module(handle=handle, Needs=Greedy))


def test_a_get_with_a_body_is_refused() -> None:
    class Bodily(msgspec.Struct, frozen=True):
        text: str

    assert "GET has body fields" in fault_of(module(handle=of_request(Bodily)))


def test_two_functions_on_one_route_are_refused_naming_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = module(), module(ROUTE=Route("GET", "/made", Scope.ADMIN))
    install(monkeypatch, {"one.a": first, "two.b": second})
    with pytest.raises(ConfigurationError, match=r"GET /made: claimed by both one\.a and two\.b"):
        discover("made")


def test_names_of_segments_do_not_tell_two_routes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class ById(msgspec.Struct, frozen=True):
        id: Path[str]

    class ByName(msgspec.Struct, frozen=True):
        name: Path[str]

    first = module(ROUTE=Route("GET", "/m/{id}", Scope.CHAT), handle=of_request(ById))
    second = module(ROUTE=Route("GET", "/m/{name}", Scope.CHAT), handle=of_request(ByName))
    install(monkeypatch, {"one.a": first, "two.b": second})
    with pytest.raises(ConfigurationError, match="claimed by both"):
        discover("made")


def test_faults_of_several_modules_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {"one.a": module(ROUTE=None), "two.b": module(handle=None)})
    with pytest.raises(ConfigurationError) as caught:
        discover("made")
    assert len(caught.value.message.splitlines()) == 2


class Mixed(msgspec.Struct, frozen=True):
    """Fields from everywhere."""

    id: Path[str]
    text: str
    limit: Query[int] = 50
    if_match: Header[str] = ""


MIXED = {
    "ROUTE": Route("POST", "/made/{id}", Scope.CHAT),
    "handle": of_request(Mixed),
}


def test_fields_come_from_path_query_header_and_body() -> None:
    function = bind("made.up", module(**MIXED))
    request = function.decode(
        raw(
            params={"id": "7"},
            query={"limit": "3"},
            headers={"if-match": "x"},
            body=b'{"text":"hello"}',
        )
    )
    assert request == Mixed("7", "hello", 3, "x")


def test_a_body_cannot_stand_in_for_a_path_segment() -> None:
    function = bind("made.up", module(**MIXED))
    request = function.decode(raw(params={"id": "7"}, body=b'{"text":"t","id":"8","limit":9}'))
    assert (request.id, request.limit) == ("7", 50)


def test_a_query_value_of_the_wrong_type_is_named() -> None:
    function = bind("made.up", module(**MIXED))
    with pytest.raises(InvalidRequest, match="query parameter `limit` is 'many'") as caught:
        function.decode(raw(params={"id": "7"}, query={"limit": "many"}, body=b'{"text":"t"}'))
    assert caught.value.param == "limit"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"text":1}', "Expected `str`, got `int` in `text`"),
        (b"{}", "missing required field `text`"),
        (b'{"text":"\xff"}', "not valid"),
        (b'{"text":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_bodies_are_refused_in_words(body: bytes, said: str) -> None:
    function = bind("made.up", module(**MIXED))
    with pytest.raises(InvalidRequest, match=said):
        function.decode(raw(params={"id": "7"}, body=body))


def test_the_list_shows_each_kind_of_trigger() -> None:
    functions = [
        bind("a.route", module()),
        bind("b.event", module(ROUTE=None, EVENT=Event("b.event"))),
        bind("c.schedule", module(ROUTE=None, SCHEDULE=Schedule("5m"))),
        bind("d.tool", module(ROUTE=None, TOOL=Tool("made"))),
    ]
    assert [(row.trigger, row.detail, row.scope) for row in describe(functions)] == [
        ("route", "GET /made", "chat"),
        ("event", "b.event", ""),
        ("schedule", "5m", ""),
        ("tool", "made", ""),
    ]


def test_a_renamed_field_of_the_path_cannot_be_overridden_by_the_body() -> None:
    class Renamed(msgspec.Struct, frozen=True, rename={"user_id": "user"}):
        user_id: Path[str]
        text: str = ""

    route = Route("POST", "/made/{user}", Scope.CHAT)
    function = bind("made.up", module(ROUTE=route, handle=of_request(Renamed)))
    request = function.decode(raw(params={"user": "me"}, body=b'{"user":"victim","text":"t"}'))
    assert request.user_id == "me"


def test_a_generator_as_handle_is_refused() -> None:
    async def handle(request: Request, context: Needs) -> Any:
        yield b""

    handle.__module__ = "made.up"
    assert "return a Stream" in fault_of(module(handle=handle))


def test_a_module_or_folder_that_cannot_be_imported_is_named(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken_functions"
    (package / "good").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "good" / "__init__.py").touch()
    (package / "good" / "verb.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"broken_functions\.good\.verb: it cannot be"):
        discover("broken_functions")
    (package / "good" / "__init__.py").write_text("import nothing_of_that_name", encoding="utf-8")
    for name in [name for name in sys.modules if name.startswith("broken_functions.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigurationError, match="this folder cannot be imported"):
        discover("broken_functions")

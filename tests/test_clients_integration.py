"""The official OpenAI client against Portal as it runs, and answers held to OpenAI's own shapes.

The client's types are made from OpenAI's API description, so validating against them strictly
holds Portal to it; what they leave optional and the description requires is named here.
"""

from collections.abc import Iterator
from typing import Any, Literal

import httpx
import openai
import pydantic
import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.conftest import StartPortal
from tests.harness import Fake, PortalProcess, end_and_inspect

pytestmark = pytest.mark.integration

EMBEDDED = "embedded/smollm2-135m-instruct"
VLLM = "vllm/Qwen/Qwen2.5-7B-Instruct"
OLLAMA = "ollama/qwen2.5:7b"
ROADS = [VLLM, OLLAMA, "on-vllm", "on-ollama"]
"""Both dialects, each as a raw model and as a turn."""
OWN = [OLLAMA, "on-vllm", "on-ollama"]
"""Answers that Portal itself writes, instead of relaying them."""
ASK: Any = [{"role": "user", "content": "Say hello."}]
CITIES = ["Oslo", "Köln"]
CALLS = [{"name": "weather", "arguments": {"city": city}} for city in CITIES]
SCRIPTS: list[dict[str, Any]] = [
    {"text": "Hello there."},
    {"text": "Hello.", "reasoning": ["Well", " then."]},
    {"tool_calls": CALLS},
    {"text": "more words than the request allows for, so they are cut"},
    {"text": "Hello there.", "usage": False},
]
Fakes = tuple[Fake, Fake]
"""One of OpenAI's dialect, one of Ollama's."""
REQUIRED = {"id", "object", "created", "model", "choices"}


class Grass(pydantic.BaseModel):
    """A form for an answer."""

    colour: Literal["red", "green"]
    sure: bool


class Weather(pydantic.BaseModel):
    """Tell the weather."""

    city: str


TOOLS = [openai.pydantic_function_tool(Weather, name="weather")]


@pytest.fixture(scope="module")
def embedded() -> Iterator[PortalProcess]:
    """Portal with nothing but its embedded model."""
    portal = PortalProcess(embedded={"enabled": True, "context_window": 1024})
    yield portal
    assert end_and_inspect(portal) == []


@pytest.fixture
def fakes(openai_server: Fake, ollama: Fake) -> Fakes:
    """A fake server of each dialect, freshly reset."""
    return openai_server, ollama


def between(fakes: Fakes) -> dict[str, Any]:
    """Word the settings of a Portal between two fakes, with a workspace for each."""
    backends = [fake.backend(name) for fake, name in zip(fakes, ("vllm", "ollama"), strict=True)]
    workspaces = {"on-vllm": {"model": VLLM}, "on-ollama": {"model": OLLAMA}}
    return {"backends": backends, "workspaces": workspaces}


@pytest.fixture(scope="module")
def portal(openai_program: Fake, ollama_program: Fake) -> Iterator[PortalProcess]:
    """Portal for what goes well."""
    portal = PortalProcess(**between((openai_program, ollama_program)))
    yield portal
    assert end_and_inspect(portal) == []


@pytest.fixture
def fresh(start_portal: StartPortal, fakes: Fakes) -> PortalProcess:
    """Portal for what fails, since failures are remembered."""
    return start_portal(**between(fakes))


def client(portal: PortalProcess, key: str = "none") -> openai.OpenAI:
    """Be a user of the official client, which no proxy variable diverts."""
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(
        base_url=f"{portal.url}/v1", api_key=key, max_retries=0, timeout=120, http_client=http
    )


def both(fakes: Fakes, **script: Any) -> None:
    """Direct both fakes alike."""
    for fake in fakes:
        fake.script(**script)


def behind(road: str, fakes: Fakes) -> Fake:
    """Find the fake at the end of a road."""
    return fakes["ollama" in road]


def last_asked(fake: Fake) -> Any:
    """Give the last body that a fake was sent."""
    return next(row for row in reversed(fake.requests()) if row.method == "POST").json


def check_whole(body: dict[str, Any]) -> None:
    """Hold a whole answer to OpenAI's description."""
    ChatCompletion.model_validate(body, strict=True)
    assert body.keys() >= REQUIRED | {"usage"}
    assert body["object"] == "chat.completion"
    for choice in body["choices"]:
        assert choice.keys() >= {"index", "message", "finish_reason", "logprobs"}
        assert choice["message"].keys() >= {"role", "content", "refusal"}


def check_stream(answer: httpx.Response, *, with_usage: bool) -> None:
    """Hold a streamed answer to OpenAI's description, its framing included."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    bodies = [event.removeprefix("data: ") for event in events]
    chunks = [ChatCompletionChunk.model_validate_json(body, strict=True) for body in bodies]
    assert all(chunk.model_fields_set >= REQUIRED for chunk in chunks)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert [reason for reason in reasons if reason] == reasons[-1:]
    counted = [chunk for chunk in chunks if chunk.usage]
    assert counted == (chunks[-1:] if with_usage else [])
    for chunk in counted:
        assert chunk.choices == []
        assert chunk.usage
        assert chunk.usage.total_tokens == chunk.usage.prompt_tokens + chunk.usage.completion_tokens


def ask(
    portal: PortalProcess, road: str, stream: bool = False, with_usage: bool = False
) -> httpx.Response:
    """Ask without the client's help."""
    body: dict[str, Any] = {"model": road, "messages": ASK, "max_tokens": 8, "stream": stream}
    if with_usage:
        body["stream_options"] = {"include_usage": True}
    return portal.client.post("/v1/chat/completions", json=body).raise_for_status()


@pytest.mark.parametrize("road", OWN)
def test_portals_own_answers_are_as_described(
    portal: PortalProcess, fakes: Fakes, road: str
) -> None:
    for script in SCRIPTS:
        both(fakes, **script)
        check_whole(ask(portal, road).json())
        for with_usage in (False, True):
            check_stream(ask(portal, road, True, with_usage), with_usage=with_usage)


def test_auto_on_the_embedded_model_answers_as_openai_describes(embedded: PortalProcess) -> None:
    check_whole(ask(embedded, "auto").json())
    check_stream(ask(embedded, "auto", True, True), with_usage=True)


def test_every_listed_model_is_found_by_its_id_however_the_slash_is_written(
    portal: PortalProcess, embedded: PortalProcess
) -> None:
    for server in (portal, embedded):
        listing = server.client.get("/v1/models").json()
        assert listing["object"] == "list"
        for entry in listing["data"]:
            Model.model_validate(entry, strict=True)
            escaped = entry["id"].replace("/", "%2F")
            assert server.client.get(f"/v1/models/{escaped}").json() == entry
        with client(server) as sdk:
            ids = [model.id for model in sdk.models.list()]
            assert [sdk.models.retrieve(name).id for name in ids] == ids
        assert len(ids) == len(set(ids)) >= 2


def test_the_embedded_model_talks_and_fills_forms(embedded: PortalProcess) -> None:
    with client(embedded) as sdk:
        for road in ("auto", EMBEDDED):
            stream = sdk.chat.completions.create(
                model=road, messages=ASK, max_tokens=4, stream=True
            )
            assert any(chunk.choices[0].delta.content for chunk in stream)
            shaped = sdk.chat.completions.parse(
                model=road, messages=ASK, max_tokens=64, response_format=Grass
            )
            assert isinstance(shaped.choices[0].message.parsed, Grass)


@pytest.mark.parametrize("road", ROADS)
def test_the_client_parses_filled_forms(portal: PortalProcess, fakes: Fakes, road: str) -> None:
    both(fakes, text='{"colour": "green", "sure": true}')
    with client(portal) as sdk:
        whole = sdk.chat.completions.parse(model=road, messages=ASK, response_format=Grass)
        with sdk.chat.completions.stream(model=road, messages=ASK, response_format=Grass) as stream:
            kinds = {event.type for event in stream}
            streamed = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= kinds
    assert [found.choices[0].message.parsed for found in (whole, streamed)] == [
        Grass(colour="green", sure=True)
    ] * 2
    asked = last_asked(behind(road, fakes))
    sent = asked.get("format") or asked["response_format"]["json_schema"]["schema"]
    assert set(sent["properties"]) == {"colour", "sure"}


@pytest.mark.parametrize("road", ROADS)
def test_calls_come_back_and_results_go_up(portal: PortalProcess, fakes: Fakes, road: str) -> None:
    both(fakes, tool_calls=CALLS, times=2)
    with client(portal) as sdk:
        with sdk.chat.completions.stream(model=road, messages=ASK, tools=TOOLS) as stream:
            streamed = stream.get_final_completion().choices[0].message.tool_calls or []
        parsed = [call.function.parsed_arguments for call in streamed]
        assert parsed == [Weather(city=city) for city in CITIES]
        whole = sdk.chat.completions.create(model=road, messages=ASK, tools=TOOLS)
        choice = whole.choices[0]
        calls = choice.message.tool_calls or []
        assert (choice.finish_reason, len({call.id for call in calls})) == ("tool_calls", 2)
        results: Any = [
            {"role": "tool", "tool_call_id": call.id, "content": f"{city}: 5 °C"}
            for call, city in zip(calls, CITIES, strict=True)
        ]
        told = [*ASK, choice.message, *results]
        answer = sdk.chat.completions.create(model=road, messages=told, tools=TOOLS)
    assert answer.choices[0].message.content
    sent = last_asked(behind(road, fakes))["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [message["content"] for message in sent[2:]] == ["Oslo: 5 °C", "Köln: 5 °C"]


@pytest.mark.parametrize("road", ROADS)
async def test_closing_a_stream_of_the_async_client_frees_the_backend(
    portal: PortalProcess, fakes: Fakes, road: str
) -> None:
    fake = behind(road, fakes)
    fake.script(tokens=[f" {number}" for number in range(50)], manual=True)
    fake.step()
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(
        base_url=f"{portal.url}/v1", api_key="none", http_client=http
    ) as sdk:
        stream = await sdk.chat.completions.create(model=road, messages=ASK, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        fake.wait("closed")
    assert [row.state for row in fake.requests() if row.method == "POST"] == ["client_closed"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("road", ROADS)
def test_the_client_raises_the_class_that_the_fault_deserves(
    fresh: PortalProcess, fakes: Fakes, road: str, stream: bool
) -> None:
    with client(fresh) as sdk:
        create = sdk.chat.completions.create
        with pytest.raises(openai.NotFoundError) as unknown:
            create(model="no-such-model", messages=ASK, stream=stream)
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError) as empty:
            create(model=road, messages=[], stream=stream)
        assert empty.value.param == "messages"
        both(fakes, hang=True)
        with pytest.raises(openai.APITimeoutError):
            create(model=road, messages=ASK, stream=stream, timeout=0.3)
        busy = {"error": {"message": "one at a time"}}
        both(fakes, status=429, body=busy, headers={"Retry-After": "7"})
        with pytest.raises(openai.RateLimitError, match="one at a time") as limited:
            create(model=road, messages=ASK, stream=stream)
        assert limited.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("road", ROADS)
def test_a_stream_that_breaks_raises_in_the_client_after_what_came(
    fresh: PortalProcess, fakes: Fakes, road: str
) -> None:
    for fault in ("cut_after", "error_after"):
        both(fakes, tokens=["One", " two", " three"], **{fault: 2})
        heard: list[str | None] = []
        with client(fresh) as sdk:
            stream = sdk.chat.completions.create(model=road, messages=ASK, stream=True)
            with pytest.raises(openai.APIError):
                heard.extend(chunk.choices[0].delta.content for chunk in stream)
        assert "".join(text or "" for text in heard) == "One two"

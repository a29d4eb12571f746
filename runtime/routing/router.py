"""From a question to the models that may answer it: gathers what a decision needs, then decides."""

import asyncio
import contextlib
import re
from collections.abc import Sequence

import msgspec

from portal.runtime.admission.passage import Passage, Passages
from portal.runtime.classifier.classifier import (
    MODEL_SCHEMA,
    classify,
    model_messages,
    read_model_answer,
)
from portal.runtime.ops import schema
from portal.runtime.routing.decide import Asked, World, decide, named
from portal.runtime.routing.discovery import Discovery
from portal.runtime.routing.pace import Pace
from portal.runtime.routing.registry import Registry
from portal.runtime.routing.strategies import Facts
from portal.runtime.routing.typed import read_override
from portal.shared.contract import Call
from portal.shared.decisions import Classification, Decision
from portal.shared.errors import (
    BackendError,
    BackendTimeout,
    InvalidRequest,
    PortalError,
    UnknownModel,
)
from portal.shared.messages import Message
from portal.shared.models import Target
from portal.shared.turns import Channel, ModelRequest, Sampling, Text, TurnRequest

MOST_MESSAGES = 10_000
"""Messages of one question; each costs some time, in which nobody else is answered."""
CERTAIN = 0.8
"""Confidence of the rules from which no model is asked."""
ANSWER_TOKENS = 200
"""Longest answer of a model that classifies."""


class Routed(msgspec.Struct, frozen=True):
    """A decision, with what it left of the question and how the workspace speaks."""

    decision: Decision
    messages: tuple[Message, ...]
    """Without `@model:`."""
    profile: schema.Workspace


class Router:
    """Implements the Routing port."""

    def __init__(
        self,
        registry: Registry,
        discovery: Discovery,
        passages: Passages,
        pace: Pace,
        settings: schema.Settings,
    ) -> None:
        self._registry = registry
        self._discovery = discovery
        self._passages = passages
        self._pace = pace
        self._settings = settings
        ranked = sorted(settings.rules, key=lambda rule: -rule.priority)
        self._rules = tuple((rule, re.compile(rule.pattern, re.IGNORECASE)) for rule in ranked)
        self._priorities = {each.name: each.priority for each in settings.backends}

    async def explain(self, call: Call, request: TurnRequest, *, ask: bool = True) -> Decision:
        """Decide without running anything but, where set and `ask`, the model that classifies."""
        return (await self.route(call, request, ask=ask)).decision

    async def route(self, call: Call, request: TurnRequest, *, ask: bool = True) -> Routed:
        """Decide who answers. Raises what `decide` does, and InvalidRequest for no question."""
        if not request.messages:
            raise InvalidRequest("There are no messages; send at least one.", param="messages")
        if len(request.messages) > MOST_MESSAGES:
            raise InvalidRequest(
                f"There are {len(request.messages)} messages; at most {MOST_MESSAGES} are read.",
                param="messages",
            )
        await self._discovery.first_round()
        target = self._registry.resolve(request.workspace)
        if target.workspace is None:
            return Routed(named(target), request.messages, schema.Workspace())
        messages, override = read_override(request.messages, self._is_known)
        if override is not None:
            _check_left(messages)
        tools = bool(request.tools) and request.tool_choice != "none"
        found = await self._classify(call, messages, tools=tools, ask=ask)
        asked = Asked(_last_said(messages), found)
        decision = decide(target, asked, self._world(), override=override)
        return Routed(decision, messages, self._profile(decision, target, request.channel))

    def _profile(self, decision: Decision, target: Target, channel: Channel) -> schema.Workspace:
        """Give the settings that the answer is made with.

        A persona keeps its voice on a channel, and when `@model:` names another workspace.
        """
        profile = self._registry.profile(decision.workspace or target.name)
        persona = self._registry.persona(target.name)
        if persona is None:
            return profile
        voice = self._registry.profile(target.name)
        system = "\n\n".join(filter(None, (voice.system, persona.prompts.get(channel))))
        return msgspec.structs.replace(profile, system=system, temperature=voice.temperature)

    def _is_known(self, name: str) -> bool:
        try:
            self._registry.resolve(name)
        except (InvalidRequest, UnknownModel):
            return False
        return True

    def _world(self) -> World:
        registry = self._registry
        return World(
            models=registry.models(),
            resolve=registry.resolve,
            profile=registry.profile,
            live=lambda name: registry.backends[name].available,
            paused=self._paused,
            rules=self._rules,
            strategy=self._settings.routing.strategy,
            facts=self._facts(),
        )

    def _paused(self, backend: str, model: str) -> float:
        breaker = self._passages.breakers.find(backend, model)
        return 0.0 if breaker is None else breaker.retry_after

    def _facts(self) -> dict[str, Facts]:
        """Tell what is known of models just now; most have nothing, and are left out."""
        found: dict[str, Facts] = {}
        waiting_for, pace_of = self._passages.load.waiting, self._pace.of
        for model in self._registry.models():
            name = model.id
            pace, waiting = pace_of(name), waiting_for(model.backend, model.name)
            priority = self._priorities.get(model.backend, 0)
            if pace is not None or waiting or priority:
                found[name] = Facts(pace, waiting, priority)
        return found

    async def _classify(
        self, call: Call, messages: Sequence[Message], *, tools: bool, ask: bool
    ) -> Classification:
        found = classify(messages, tools=tools)
        name = self._settings.routing.classifier_model
        if name is None or not ask or found.confidence >= CERTAIN:
            return found
        with contextlib.suppress(PortalError, TimeoutError):
            target = self._registry.resolve(name)
            if target.workspace is None:
                answer = await self._ask(call, target, model_messages(messages))
                return read_model_answer(answer, found) or found
        return found

    async def _ask(self, call: Call, target: Target, messages: tuple[Message, ...]) -> str:
        """Let the classifying model answer; its time is a backend's, not Portal's own.

        One that is too slow counts as failed, so that it is soon left alone for a while.
        """
        format_ = {"type": "json_schema", "json_schema": {"name": "kind", "schema": MODEL_SCHEMA}}
        sampling = Sampling(temperature=0.0, max_tokens=ANSWER_TOKENS)
        request = ModelRequest(
            target.model,
            messages,
            sampling,
            response_format=format_,
            # Told another window than other questions tell it, Ollama would reload the model.
            num_ctx=self._registry.num_ctx(target.backend, target.model),
        )
        seconds = self._settings.routing.classifier_seconds
        passage: Passage | None = None
        call.begin_wait()
        try:
            async with asyncio.timeout(seconds):
                passage = await self._passages.enter(call, target.backend, target.model)
                events = self._registry.backends[target.backend].generate(request)
                async with contextlib.aclosing(events) as source:
                    texts = [event.text async for event in source if isinstance(event, Text)]
            passage.succeeded()
        except BackendError as error:
            if passage is not None:
                passage.failed(error)
            raise
        except TimeoutError:
            if passage is not None:
                passage.failed(BackendTimeout(f"It did not classify within {seconds:g} s."))
            raise
        finally:
            call.end_wait()
            if passage is not None:
                passage.close()
        return "".join(texts)


def _last_said(messages: Sequence[Message]) -> str:
    return next((each.text for each in reversed(messages) if each.role == "user"), "")


def _check_left(messages: Sequence[Message]) -> None:
    """Refuse a message that was nothing but `@model:`."""
    last = next(each for each in reversed(messages) if each.role == "user")
    if not last.content or (isinstance(last.content, str) and not last.content.strip()):
        raise InvalidRequest(
            "There is nothing to answer beside `@model:`; add the question.", param="messages"
        )

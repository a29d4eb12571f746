"""Checks of the backends: each one is asked for its models, and for one real token."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import httpx

from portal.runtime.backends.backend import Backend
from portal.runtime.hints.hints import billions, may_chat
from portal.runtime.ops.doctor_portal import ask_one_token
from portal.runtime.ops.findings import Finding, fault, guarded, ok, warn
from portal.runtime.ops.instance import RunInfo
from portal.runtime.ops.schema import Settings
from portal.shared.errors import PortalError
from portal.shared.messages import Message
from portal.shared.models import BackendKind, BackendStatus, Model
from portal.shared.turns import ModelRequest, Sampling

OpenBackends = Callable[[Settings], AbstractAsyncContextManager[Sequence[Backend]]]
"""Makes the backends of the settings, each asked for its models once, and closes them."""

TOKEN_SECONDS = 60.0
"""Longest wait for one token; loading a large model takes long."""
GET_MODELS: dict[BackendKind, str] = {
    "ollama": "give it one: `ollama pull qwen3:8b`",
    "openai": "load a model in it",
    "embedded": "portal models pull embedded",
}


async def check_backends(
    settings: Settings, run: RunInfo | None, open_backends: OpenBackends
) -> list[Finding]:
    """Check all of them at once; those that nobody configured only where they are found."""
    async with open_backends(settings) as backends:
        present = [each for each in backends if each.status().state != "absent"]
        rounds = await asyncio.gather(
            *(guarded(_name(each), _check(each, run)) for each in present)
        )
        able = any(each.available and _choose(each.models()) for each in present)
    findings = [finding for found in rounds for finding in found]
    if not able:
        fix = "start Ollama (https://ollama.com) or LM Studio, or `portal models pull embedded`"
        findings.append(fault("models", "no model can answer: no backend has one", fix))
    return findings


async def _check(backend: Backend, run: RunInfo | None) -> list[Finding]:
    status = backend.status()
    if not backend.available:
        return [fault(_name(backend), status.error or f"it is {status.state}", _restore(status))]
    models = backend.models()
    if not models:
        found = f"{_place(status)} answers, and has no models"
        make = fault if status.configured else warn
        return [make(_name(backend), found, GET_MODELS[status.kind])]
    model = _choose(models)
    if model is None:
        return [ok(_name(backend), f"{_place(status)}: {_count(models)}, none of them for chat")]
    began = time.monotonic()
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            if run is not None and backend.kind == "embedded":
                # A second child would load the same weights once more beside the first.
                await ask_one_token(run, model.id, TOKEN_SECONDS)
            else:
                await _one_token(backend, model)
    except (PortalError, httpx.HTTPError, TimeoutError) as error:
        reason = str(error) or f"nothing came within {TOKEN_SECONDS:g} s"
        found = f"{_place(status)} has {_count(models)}, yet {model.name} does not answer: {reason}"
        return [fault(_name(backend), found, _restore(status))]
    took = time.monotonic() - began
    found = f"{_place(status)}: {_count(models)}, {model.name} answered in {took:.1f} s"
    return [ok(_name(backend), found)]


async def _one_token(backend: Backend, model: Model) -> None:
    request = ModelRequest(
        model.name, (Message("user", "Say yes."),), sampling=Sampling(max_tokens=1)
    )
    async with contextlib.aclosing(backend.generate(request)) as events:
        async for _ in events:
            pass


def _choose(models: Sequence[Model]) -> Model | None:
    """Take a loaded chat model, else the smallest: nobody wants to wait for gigabytes."""
    able = [model for model in models if may_chat(model) and not model.gone]
    return min(able, key=lambda model: (not model.loaded, billions(model)), default=None)


def _restore(status: BackendStatus) -> str:
    match status.kind:
        case "embedded":
            return "portal models pull embedded; the log of `portal up` tells more"
        case "ollama":
            return f"start it (`ollama serve`), look at its log, or correct its url: {status.url}"
        case _:
            return f"start it and look at its log, or correct its url and api_key: {status.url}"


def _name(backend: Backend) -> str:
    return f"backend {backend.name}"


def _place(status: BackendStatus) -> str:
    return status.url or "in this machine"


def _count(models: Sequence[Model]) -> str:
    return "1 model" if len(models) == 1 else f"{len(models)} models"

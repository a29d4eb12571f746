"""Which OpenAI-compatible server it is, and what that one tells beyond the names of its models.

Asks in the ways of LM Studio and llama.cpp. A call that a server turned out not to have is not
made again until it was away.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from portal.runtime.backends.limits import Limits
from portal.runtime.backends.openai_facts import (
    Extra,
    is_router,
    owner,
    read_lmstudio,
    read_lmstudio_v0,
    read_model,
    read_props,
)
from portal.runtime.backends.operations import within
from portal.runtime.backends.pool import Pool
from portal.runtime.backends.tolerant import rows
from portal.shared.errors import BackendError, BackendRefused
from portal.shared.models import Model

EXTRA_SECONDS = 2.0
"""Longest wait for what a server tells beside its list."""
MOST_PROPS = 16
"""Most loaded models of a router that are asked for their properties in one round."""
LMSTUDIO, LMSTUDIO_V0, PROPS = "/api/v1/models", "/api/v0/models", "/props"
ABSENT = frozenset({404, 405, 501})
SILENT = frozenset({"vllm", "sglang"})
"""Owners of rows that hold all that their server tells."""

Server = Literal["", "vllm", "lmstudio", "lmstudio-0.3", "llamacpp", "router"]
"""router: a llama.cpp that loads and unloads models by itself. Nothing: some other server."""


class Probe:
    """What was found out about one server so far."""

    def __init__(self, pool: Pool) -> None:
        self.server: Server = ""
        self.extras: Mapping[str, Extra] = {}
        """By model name; of those that are listed."""
        self._pool = pool
        self._absent: set[str] = set()

    def forget(self) -> None:
        """Ask anew for everything: the server may be another one."""
        self.server, self.extras = "", {}
        self._absent.clear()

    async def models(self, limits: Limits) -> tuple[Model, ...]:
        """Ask for the list, and for what else there is. Raises BackendError without a list."""
        listed = await self.listed(limits)
        extras = await self._ask_more(listed, within(limits, EXTRA_SECONDS))
        self.extras = {row["id"]: extras[row["id"]] for row in listed if row["id"] in extras}
        name = self._pool.name
        return tuple(read_model(name, row, self.extras.get(row["id"])) for row in listed)

    async def listed(self, limits: Limits) -> list[dict[str, Any]]:
        """Ask for the list alone."""
        answer = await self._pool.get_json("/v1/models", dict[str, Any], limits=limits)
        return rows(answer, "data", "id", self._pool.name)

    async def ask(
        self, path: str, limits: Limits, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Make a call that not every server has; an empty object is no answer, whyever."""
        if path in self._absent:
            return {}
        try:
            if body is None:
                answer = await self._pool.get_json(path, dict[str, Any], limits=limits)
            else:
                answer = await self._pool.post_json(path, body, dict[str, Any], limits)
        except BackendRefused as error:
            # vLLM answers 404 for a model that it does not have, too.
            if error.status in ABSENT and "does not exist" not in error.message:
                self._absent.add(path)
            return {}
        except BackendError:
            return {}
        if "error" in answer:
            # So LM Studio answers, with status 200, what it does not have.
            self._absent.add(path)
            return {}
        return answer

    async def _ask_more(
        self, listed: Sequence[dict[str, Any]], limits: Limits
    ) -> Mapping[str, Extra]:
        """Find out which server it is, and what that one tells of its models."""
        owned_by = owner(listed)
        if not listed or owned_by in SILENT:
            self.server = "vllm" if owned_by in SILENT else self.server
            return {}
        if is_router(listed):
            self.server = "router"
            return await self._router_props(listed, limits)
        for path, server, read in READERS if owned_by != "llamacpp" else ():
            if path not in self._absent:
                if found := read(await self.ask(path, limits)):
                    self.server = server
                    return found
                if path not in self._absent:
                    return self._remembered()
        if PROPS in self._absent:
            return {}
        props = await self.ask(PROPS, limits)
        if "default_generation_settings" not in props:
            return {} if PROPS in self._absent else self._remembered()
        self.server = "llamacpp"
        return {row["id"]: read_props(props, row["id"]) for row in listed}

    async def _router_props(
        self, listed: Sequence[dict[str, Any]], limits: Limits
    ) -> Mapping[str, Extra]:
        """Ask a router for the properties of what is loaded, which loads nothing."""
        names = [row["id"] for row in listed if read_model("", row, None).loaded][:MOST_PROPS]
        paths = [f"{PROPS}?model={quote(name, safe='')}&autoload=false" for name in names]
        answers = await asyncio.gather(*(self.ask(path, limits) for path in paths))
        told = {
            name: read_props(props, name)
            for name, props in zip(names, answers, strict=True)
            if "default_generation_settings" in props
        }
        return {**self._remembered(), **told}

    def _remembered(self) -> Mapping[str, Extra]:
        """Give what was told before: only what is loaded changes while a server is too busy."""
        return {
            name: msgspec.structs.replace(extra, loaded=None) for name, extra in self.extras.items()
        }


READERS: Sequence[tuple[str, Server, Callable[[Mapping[str, Any]], dict[str, Extra]]]] = (
    (LMSTUDIO, "lmstudio", read_lmstudio),
    (LMSTUDIO_V0, "lmstudio-0.3", read_lmstudio_v0),
)
"""The newer list first: it alone tells of instances, which are what is unloaded."""

"""The loaded models of an LM Studio or a llama.cpp router, and their own calls about models."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from tests.fakes.openai_flavours import CONTEXT, LMSTUDIO, Flavour, encode, fault
from tests.fakes.playing import Reply

LOADED_CONTEXT = 4096
"""Tokens that a model is served with unless its loading said otherwise."""


class LoadAsked(msgspec.Struct):
    """Body of loading and unloading."""

    model: str = ""
    instance_id: str = ""
    config: dict[str, Any] = {}


class Instances:
    """What is loaded with which context, and how often each model was."""

    def __init__(self, flavour: Flavour) -> None:
        self.loaded: dict[str, int] = {}
        self.failed: set[str] = set()
        self._flavour = flavour
        self._loads: Counter[str] = Counter()
        self._order: list[list[Any]] = []
        self._starting: dict[str, int] = {}

    def forget(self) -> None:
        """Go back to the start."""
        self.loaded.clear()
        self.failed.clear()
        self._loads.clear()
        self._order.clear()
        self._starting.clear()

    def state(self) -> dict[str, Any]:
        """Tell what `Memory.state` of the fake Ollama tells."""
        return {"loads": dict(self._loads), "order": self._order, "loaded": self.loaded}

    def use(self, name: str, context: int = LOADED_CONTEXT) -> None:
        """Have a model in memory."""
        if name not in self.loaded:
            self._loads[name] += 1
            self._order.append([name, context])
            self.loaded[name] = context

    def answer(self, method: str, path: str, body: bytes, names: Sequence[str]) -> Reply | None:
        """Answer one of the calls about models that this server has of its own."""
        match self._flavour, method, path:
            case "lmstudio", "GET", "/api/v1/models":
                return reply({"models": [self._described(name) for name in names]})
            case "lmstudio" | "lmstudio-0.3", "GET", "/api/v0/models":
                rows = [self._described_before(name) for name in names]
                return reply({"object": "list", "data": rows})
            case "lmstudio", "POST", "/api/v1/models/load":
                return self._load(read(body), names)
            case "lmstudio", "POST", "/api/v1/models/unload":
                return self._unload(read(body))
            case "llamacpp-router", "POST", "/models/load":
                return self._start(read(body).model, names)
            case "llamacpp-router", "POST", "/models/unload":
                self.loaded.pop(read(body).model, None)
                return reply({"success": True})
        return None

    def status(self, name: str) -> dict[str, Any]:
        """Tell a router's `status` of a model; one that is loading has loaded at the next look."""
        if name in self.failed:
            return {"value": "unloaded", "failed": True, "exit_code": 1}
        if context := self._starting.pop(name, None):
            self.use(name, context)
            return {"value": "loading", "args": ["llama-server"]}
        return {"value": "loaded" if name in self.loaded else "unloaded"}

    def _load(self, asked: LoadAsked, names: Sequence[str]) -> Reply:
        if asked.model not in names:
            return fault(self._flavour, 404, f"Model {asked.model} not found", param="model")
        context = int(asked.config.get("context_length", LOADED_CONTEXT))
        self.use(asked.model, context)
        config = {"context_length": context}
        done = {"model_instance_id": f"{asked.model}:1", "config": config, "load_time_seconds": 1}
        return reply(done)

    def _unload(self, asked: LoadAsked) -> Reply:
        if self.loaded.pop(asked.instance_id.removesuffix(":1"), None) is None:
            return fault(self._flavour, 404, f"No model instance {asked.instance_id}")
        return reply({"instance_id": asked.instance_id})

    def _start(self, name: str, names: Sequence[str]) -> Reply:
        if name not in names:
            return fault(self._flavour, 404, "model is not found")
        if name in self.loaded:
            return fault(self._flavour, 400, "model is already running")
        if "broken" in name:
            self.failed.add(name)
        else:
            self._starting[name] = LOADED_CONTEXT
        return reply({"success": True})

    def _described(self, name: str) -> dict[str, Any]:
        """Word a row of `/api/v1/models`."""
        config = {"context_length": self.loaded.get(name)}
        running = [{"id": f"{name}:1", "config": config}] if name in self.loaded else []
        row: dict[str, Any] = {
            "type": "embedding" if "embed" in name else "llm",
            "publisher": "lmstudio-community",
            "key": name,
            "display_name": name.title(),
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": 4_683_073_952,
            "params_string": None if "embed" in name else "7B",
            "loaded_instances": running,
            "max_context_length": CONTEXT,
            "format": "gguf",
        }
        if "embed" not in name:
            able = {"vision": "vl" in name, "trained_for_tool_use": "qwen" in name}
            row |= {"architecture": "qwen2", "capabilities": able, "description": None}
        return row

    def _described_before(self, name: str) -> dict[str, Any]:
        """Word a row of `/api/v0/models`."""
        kind = "embeddings" if "embed" in name else "vlm" if "vl" in name else "llm"
        row: dict[str, Any] = {
            "id": name,
            "object": "model",
            "type": kind,
            "publisher": "lmstudio-community",
            "arch": "qwen2",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "loaded" if name in self.loaded else "not-loaded",
            "max_context_length": CONTEXT,
        }
        if name in self.loaded:
            row["loaded_context_length"] = self.loaded[name]
        if "qwen" in name:
            row["capabilities"] = ["tool_use"]
        return row


def read(body: bytes) -> LoadAsked:
    """Read a body; a malformed one asks for nothing that is there."""
    try:
        return msgspec.json.decode(body, type=LoadAsked)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return LoadAsked()


def reply(value: Any) -> Reply:
    """Answer 200 with an object."""
    return Reply(200, encode(value))


def manages(flavour: Flavour) -> bool:
    """Whether it loads models when they are asked something."""
    return flavour in LMSTUDIO or flavour == "llamacpp-router"

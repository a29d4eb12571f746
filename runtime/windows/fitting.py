"""Make a request fit the window of the model that is to answer it, and notice where it did not.

Turns are trimmed by their workspace's policy; raw requests are never changed, only refused where
it is proven that they cannot fit.
"""

from collections.abc import Mapping

import msgspec

from portal.runtime.ops import schema
from portal.runtime.routing.registry import Registry
from portal.runtime.windows.calibration import Calibration
from portal.runtime.windows.num_ctx import truncated
from portal.runtime.windows.tokens import counter, estimate, likely, lower_bound
from portal.runtime.windows.window import (
    Fits,
    TooLong,
    Trimmed,
    Unsure,
    describe,
    fits,
    fits_raw,
    reserve_for,
    too_long,
    trim,
)
from portal.shared.contract import Call
from portal.shared.decisions import Candidate
from portal.shared.messages import ImagePart, Message
from portal.shared.models import Model, Target
from portal.shared.turns import ModelRequest, Usage

LEARNT_BYTES = 200_000
"""Longest prompt that teaches: measuring a longer one costs more than it is worth."""


class _Options(msgspec.Struct):
    num_ctx: int | None = None


_options = msgspec.json.Decoder(_Options).decode


class Fitted(msgspec.Struct, frozen=True):
    """A request that fits, and what to tell about how it was made to."""

    request: ModelRequest
    told: str = ""
    """Text of `x-portal-context`; empty when nothing was left out."""
    said: str = ""
    """The same as a sentence."""


class Fitting:
    """Knows the windows of models, and what their own counts have taught."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._calibration = Calibration()

    async def fit(
        self,
        request: ModelRequest,
        candidate: Candidate,
        profile: schema.Workspace,
        *,
        care: float = 1.0,
    ) -> Fitted:
        """Address a turn's request to a model and make it fit. Raises ContextLengthExceeded.

        `care`: how much longer to take the prompt for than it is estimated.
        """
        model = self._registry.find(candidate.backend, candidate.model)
        request = self._addressed(request, candidate.backend, candidate.model)
        window = window_of(model)
        if window is None:
            return Fitted(request)
        reserve = reserve_for(window, request.sampling.max_tokens)
        factor = self._calibration.factor((candidate.backend, candidate.model)) * care
        messages, tools = request.messages, request.tools
        match fits(messages, tools, window=window, reserve=reserve, factor=factor):
            case Fits():
                return Fitted(request)
            case Unsure() if care == 1.0:
                factor = await self._measured(candidate, messages) or factor
        cut = trim(
            messages,
            window=window,
            reserve=reserve,
            policy=profile.trim,
            count=counter(tools, factor=factor),
            model=candidate.name,
        )
        return _fitted(request, cut, window)

    def of_raw(self, target: Target, request: ModelRequest) -> ModelRequest:
        """Address a raw request that is translated. Raises ContextLengthExceeded, by proof."""
        model = self._registry.find(target.backend, target.model)
        window = told_window(model)
        if window is not None:
            least = lower_bound(request.messages)
            if least > window:
                raise too_long(target.name, needed=least, window=window, reserve=0)
        return self._addressed(request, target.backend, target.model)

    def check_raw(self, target: Target, fields: Mapping[str, msgspec.Raw]) -> None:
        """Refuse a raw request that cannot fit, by proof. Raises ContextLengthExceeded."""
        model = self._registry.find(target.backend, target.model)
        window = own_window(model, fields) if target.kind == "ollama" else told_window(model)
        if window is None:
            return
        verdict = fits_raw(fields, window=window)
        if isinstance(verdict, TooLong):
            raise too_long(target.name, needed=verdict.tokens, window=window, reserve=0)

    def counted(self, call: Call, backend: str, request: ModelRequest, usage: Usage) -> None:
        """Learn from a backend's own count, and note on the call when it cut the prompt."""
        messages, window, read = request.messages, request.num_ctx, usage.input_tokens
        if sum(len(each.text) for each in messages) > LEARNT_BYTES and window is None:
            return
        about = estimate(messages, request.tools)
        if window is not None and truncated(lower_bound(messages), read, window, estimate=about):
            call.context = describe(window=window, prompt=about, kept=len(messages), read=read)
        elif not _has_images(messages):
            self._calibration.learn((backend, request.model), about, read)

    def _addressed(self, request: ModelRequest, backend: str, model: str) -> ModelRequest:
        """Name the model; Ollama is always told the same window for it, lest it reload it."""
        window = self._registry.num_ctx(backend, model)
        return msgspec.structs.replace(request, model=model, num_ctx=window)

    async def _measured(self, candidate: Candidate, messages: tuple[Message, ...]) -> float | None:
        """Let the backend's tokenizer count; gives how far the estimate of these texts is off."""
        text = "\n".join(message.text for message in messages)
        backend = self._registry.backends[candidate.backend]
        count = await backend.count_tokens(candidate.model, text)
        return None if not count else count / likely(text.encode("utf-8", "surrogatepass"))


def window_of(model: Model | None) -> int | None:
    """Give the tokens that a model is served with, as far as anybody knows."""
    return None if model is None else model.served_window or model.context_window


def told_window(model: Model | None) -> int | None:
    """Give the same only where it is no guess, so that a refusal may rest on it."""
    if model is None or (model.served_window is None and "context_window" in model.guessed):
        return None
    return window_of(model)


def own_window(model: Model | None, fields: Mapping[str, msgspec.Raw]) -> int | None:
    """Give the tokens that the client of a raw Ollama request wants it served with.

    Where it says nothing, those that the model has at most: what Portal would have chosen is not
    what Ollama will take.
    """
    most = None
    if model is not None and "context_window" not in model.guessed:
        most = model.context_window
    try:
        asked = _options(fields["options"]).num_ctx if "options" in fields else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        asked = None  # the backend says what is wrong with them
    known = [each for each in (most, asked) if each and each > 0]
    return min(known, default=None)


def _fitted(request: ModelRequest, cut: Trimmed, window: int) -> Fitted:
    if not cut.left_out:
        return Fitted(request)
    told = describe(window=window, prompt=cut.needed, left_out=cut.left_out, kept=len(cut.messages))
    what = "message was" if cut.left_out == 1 else "messages were"
    said = (
        f"The conversation is longer than the model's window of {window} tokens: its oldest "
        f"{cut.left_out} {what} left out."
    )
    return Fitted(msgspec.structs.replace(request, messages=cut.messages), told, said)


def _has_images(messages: tuple[Message, ...]) -> bool:
    return any(
        isinstance(part, ImagePart)
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
    )

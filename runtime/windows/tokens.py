"""How many tokens a prompt takes: at most, at least, and likely. Pure.

Nothing here knows a model's vocabulary. Three figures stand in for it, each for its own use:

- `upper_bound`: no byte-level BPE or SentencePiece with byte fallback makes more of it, since a
  token covers at least a byte of the text. What fits by this fits; nobody needs to be asked.
- `lower_bound`: none makes less of it, since no token holds parts of two words. What is too long
  by this is too long; a refusal may rest on it.
- `estimate`: what to expect, by the kind of characters. Of what Llama 3, Qwen and Mistral's Tekken
  count, it is 0.9 to 1.35 for English, German, French, Russian, Japanese, code and JSON. Up to
  twice as far off are long numbers, where Llama 3 counts less, and scripts that a vocabulary
  hardly knows (Hebrew in Llama 3, Hindi in Qwen); `portal.runtime.windows.calibration` corrects
  it per model.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence

import msgspec

from portal.shared.messages import Message, TextPart
from portal.shared.turns import ToolSpec

Count = Callable[[Sequence[Message]], int]
"""Counts the tokens of messages, and is additive: those of two lists together are those of each,
less those of none, which are what the template and the tools take."""

IMAGE_TOKENS = 1_500
"""Of one image. Models differ from 256 (Gemma 3) to some thousands (Qwen-VL, by its size), and no
byte tells; this is more than most take. So an upper bound with images is no proof."""

_TEMPLATE = (256, 16)
"""What a chat template adds once, at most and likely; many have a default system prompt."""
_MESSAGE = (16, 5)
_CALL = (48, 14)
_TOOL = (64, 12)
_TOOLS = (512, 120)
"""What it explains about tools, once."""

_THOUGHT_END = "</think>"
_WORDS = bytes(0x20 if chr(byte).isspace() and byte < 0x80 else 0x78 for byte in range(256))
"""Turns white space into a space, everything else into an x."""
_LEAD_CJK = bytes(range(0xE3, 0xEA))
_SAMPLED = 256 * 1024
"""Bytes from which a text is not measured whole: that would hold up all other requests."""
_SAMPLES, _SAMPLE = 64, 2048
_CJK_PER_TOKEN = 4
"""Characters that a token holds at most, over a longer text; 1.8 is the best that was measured."""


def _weights() -> bytes:
    """Give each byte its tokens, in 64ths; in UTF-8 the first byte of a character tells its script.

    Fitted to the vocabularies of Llama 3, Llama 4, Qwen and Mistral (Tekken).
    """
    table = bytearray(256)
    for first, last, tokens in (
        (0x00, 0x1F, 1.0),
        (0x20, 0x7E, 0.7),  # punctuation, but for what follows
        (ord("0"), ord("9"), 1.0),  # Qwen, Mistral and Gemma: each digit; Llama 3: three
        (ord("A"), ord("Z"), 0.9),  # begin words, or stand in base64 and other random text
        (ord("a"), ord("z"), 0.23),
        (ord(" "), ord(" "), 0.13),
        (ord("\t"), ord("\r"), 0.2),
        (0xC2, 0xCC, 1.4),  # Latin with marks: they split the word
        (0xCD, 0xCF, 0.65),  # Greek
        (0xD0, 0xD4, 0.4),  # Cyrillic
        (0xD5, 0xD7, 0.6),  # Armenian, Hebrew
        (0xD8, 0xDF, 0.45),  # Arabic
        (0xE0, 0xE0, 0.65),  # scripts of India, Thai
        (0xE1, 0xE1, 0.55),  # Vietnamese vowels and smaller scripts
        (0xE2, 0xE2, 0.9),  # dashes, quotes, signs
        (0xE3, 0xE3, 0.65),  # kana
        (0xE4, 0xE9, 0.85),  # Chinese characters
        (0xEA, 0xED, 0.75),  # Hangul
        (0xEE, 0xEF, 0.9),
        (0xF0, 0xF4, 2.6),  # emoji
    ):
        table[first : last + 1] = bytes([round(tokens * 64)]) * (last + 1 - first)
    return bytes(table)


_WEIGHTS = _weights()


def upper_bound(
    messages: Sequence[Message],
    tools: Sequence[ToolSpec] = (),
    *,
    image_tokens: int = IMAGE_TOKENS,
) -> int:
    """Count the tokens that the prompt takes at most.

    Holds for every tokenizer that splits UTF-8 bytes as they are or after NFC, and for templates
    whose own words, such as a default system prompt, are at most 256 tokens, and 512 about tools.
    """
    total = _TEMPLATE[0] + (_TOOLS[0] if tools else 0)
    for tool in tools:
        # Some templates write the schema indented.
        total += _TOOL[0] + _rendered(msgspec.json.format(_json(tool), indent=4))
    for message in messages:
        content = message.content
        total += _MESSAGE[0] + _bytes(message.name) + _bytes(message.tool_call_id)
        if isinstance(content, str):
            total += _bytes(content)
        else:
            for part in content:
                total += _bytes(part.text) + 1 if isinstance(part, TextPart) else image_tokens
        for call in message.tool_calls:
            name = _bytes(call.name) + _bytes(call.id)
            total += _CALL[0] + name + _rendered(_utf8(call.arguments))
    return total


def lower_bound(messages: Sequence[Message]) -> int:
    """Count the tokens that the text of the messages takes at least.

    Leaves out what a template may leave out: tools, calls, names, and the thoughts of answers.
    """
    return sum(least(spoken(message.role, message.text)) for message in messages)


def spoken(role: object, text: str) -> str:
    """Return what of a message's text every template keeps: not the thoughts of earlier answers."""
    return text.rpartition(_THOUGHT_END)[2] if role == "assistant" else text


def least(text: str) -> int:
    """Count the tokens that a text takes at least: one a word, or one for four CJK characters."""
    data = _utf8(text)
    words = (b" " + data).translate(_WORDS).count(b" x")
    if len(data) == len(text):
        return words
    return max(words, (len(data) - len(data.translate(None, _LEAD_CJK))) // _CJK_PER_TOKEN)


def estimate(
    messages: Sequence[Message],
    tools: Sequence[ToolSpec] = (),
    *,
    factor: float = 1.0,
    image_tokens: int = IMAGE_TOKENS,
) -> int:
    """Estimate the tokens of the prompt; `factor` is the model's calibration."""
    return counter(tools, factor=factor, image_tokens=image_tokens)(messages)


def counter(
    tools: Sequence[ToolSpec] = (), *, factor: float = 1.0, image_tokens: int = IMAGE_TOKENS
) -> Count:
    """Make the estimate of messages that go with these tools, which are measured once."""
    own: float = _TEMPLATE[1] + (_TOOLS[1] if tools else 0)
    own += sum(_TOOL[1] + likely(_json(tool)) for tool in tools)
    fixed = math.ceil(own * factor)

    def count(messages: Sequence[Message]) -> int:
        # Rounded for each message, so that sums of parts are exact.
        return fixed + sum(_message(message, factor, image_tokens) for message in messages)

    return count


def likely(text: bytes) -> float:
    """Estimate the tokens of UTF-8 text; of a very long one by samples from all over it."""
    size = len(text)
    if size > _SAMPLED:
        step = size // _SAMPLES
        text = b"".join(text[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step))
    return sum(text.translate(_WEIGHTS)) / 64 * (size / max(len(text), 1))


def _message(message: Message, factor: float, image_tokens: int) -> int:
    tokens = _MESSAGE[1] + likely(_utf8(message.text)) if message.content else float(_MESSAGE[1])
    for call in message.tool_calls:
        tokens += _CALL[1] + likely(_utf8(call.name + call.arguments))
    images = 0
    if not isinstance(message.content, str):
        images = sum(not isinstance(part, TextPart) for part in message.content)
    return math.ceil(tokens * factor) + images * image_tokens


def _json(tool: ToolSpec) -> bytes:
    return msgspec.json.encode(tool)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _bytes(text: str) -> int:
    """Count the bytes that a tokenizer sees: those of the text, or of its NFC where longer."""
    if text.isascii():
        return len(text)
    size = len(_utf8(text))
    if unicodedata.is_normalized("NFC", text):
        return size
    return max(size, len(_utf8(unicodedata.normalize("NFC", text))))


def _rendered(json: bytes) -> int:
    """Count the bytes that JSON takes at most when a template writes it anew.

    It may escape what is not ASCII and what is special in HTML, put spaces after commas, and
    write each value between tags with the names of its key.
    """
    size = len(json) if json.isascii() else len(json) * 3
    size += json.count(b",") + 24 * json.count(b":")
    return size + 5 * sum(json.count(mark) for mark in (b"<", b">", b"&", b"'"))

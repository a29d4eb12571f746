"""What a model's name says of itself: size, bits, window. Pure.

Names come in every dialect: `qwen2.5-coder:7b-instruct-q4_K_M` (Ollama),
`Qwen/Qwen2.5-VL-7B-Instruct-AWQ` (Hugging Face), `Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf` (a file),
`hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M`, `qwen2.5-7b-instruct-1m` (LM Studio).
"""

import re

import msgspec

NUMBER = re.compile(
    r"""(?<![a-z0-9.])
    (?:(?P<experts>\d{1,3})x)?         # 8x7b: so many experts of such a model
    (?P<kind>[ae]?)                # a3b: active; e4b: effective, the rest is only looked up
    (?P<number>\d{1,6}(?:\.\d{1,6})?)
    (?P<unit>[bkmt])               # 128k is a window, 1m too, 135m a size
    (?P<beside>-\d+e)?             # 17b-16e: what is active, and the number of experts
    (?![a-z0-9])""",
    re.VERBOSE,
)
QUANTIZATION = re.compile(
    r"""(?<![a-z0-9])(?:
        i?q[1-8](?:[_-](?:k(?:[_-](?:xxs|xs|s|m|l|xl))?|[01]|nl|xxs|xs|s|m|l|xl))?
        | tq[12]_0 | (?:nv|mx)?fp(?:4|8|16|32) | b?f16 | f32 | nf4 | int[48] | w\d{1,2}a\d{1,2}
        | [2-8](?:\.\d)?-?bits? | awq | gptq(?:-int\d|-\dbit)? | exl[23]
    )(?![a-z0-9])""",
    re.VERBOSE,
)
DECIMAL = re.compile(r"(?<=-)(\d)_(\d+b)(?![a-z0-9])")
"""`stablelm-2-1_6b`: a point that a file name could not have."""
SNAPSHOT = re.compile(r"/snapshots/[0-9a-f]{40}/?$")
FOUR_BITS = ("AWQ", "GPTQ")
HYPHENS = str.maketrans("_: @", "----")
BILLIONS = {"b": 1.0, "m": 1e-3, "t": 1e3}
LONGEST = 200
"""Characters of a name that are looked at."""
LARGEST = 10_000.0
"""Billions; a number beyond it is something else."""
SMALLEST_WINDOW, LARGEST_WINDOW = 4, 9999
"""Thousands of tokens, likewise."""


class Numbers(msgspec.Struct, frozen=True):
    """Sizes in billions of parameters, and a window; None where nothing is said."""

    billions: float | None = None
    active: float | None = None
    """What takes part in each token; None: all of them."""
    window: int | None = None


class NameFacts(msgspec.Struct, frozen=True):
    """What was read from a name."""

    text: str
    """The part that names the model, in lower case, with hyphens between its words."""
    numbers: Numbers
    quantization: str | None


def read_name(name: str) -> NameFacts:
    """Read a name; what stands before its last slash is somebody's or a folder's."""
    path = SNAPSHOT.sub("", name.replace("\\", "/")).replace("--", "/").rstrip("/")
    last = path.rpartition("/")[2].lower().removesuffix(".gguf")[:LONGEST]
    text = DECIMAL.sub(r"\1.\2", last).translate(HYPHENS)
    return NameFacts(text, read_numbers(text), _quantization(last))


def read_numbers(text: str) -> Numbers:
    """Read sizes and a window: `8x7b`, `30b-a3b`, `7.6B`, `134.52M`, `128k`, `1m`."""
    found: dict[str, float] = {}
    for experts, kind, digits, unit, beside in NUMBER.findall(text.lower()):
        number = float(digits)
        billions = number * BILLIONS.get(unit, 0.0)
        if experts and unit == "b":
            # Attention is shared between experts, and two of them answer: true of Mixtral to 3 %.
            found.setdefault("all", int(experts) * number * 0.82)
            found.setdefault("active", number * 1.85)
        elif kind == "a" or beside:
            found.setdefault("active", billions)
        elif kind == "e":
            found.setdefault("all", 2 * billions)
            found.setdefault("active", billions)
        elif unit == "k" or (unit == "m" and number < 10):
            found.setdefault("window", _window(number, unit))
        else:
            # Millions or trillions are often of tokens, or of steps: billions go before them.
            found.setdefault("all" if unit == "b" else "else", billions)
    return Numbers(
        _sane(found.get("all", found.get("else", 0))),
        _sane(found.get("active", 0)),
        int(found.get("window", 0)) or None,
    )


def in_words(billions: float) -> str:
    """Write billions of parameters as people do: 135M, 7.6B, 1T."""
    if billions >= 1000:
        return f"{billions / 1000:.3g}T"
    return f"{billions:.3g}B" if billions >= 1 else f"{billions * 1000:.3g}M"


def bits(quantization: str) -> float | None:
    """Read the bits per weight from a quantisation's name: `Q4_K_M`, `AWQ`, `BF16`, `4bit`."""
    found = re.search(r"\d+(?:\.\d+)?", quantization)
    if quantization.upper().startswith("EXL"):
        return None
    if found:
        return float(found[0])
    return 4.0 if quantization.upper() in FOUR_BITS else None


def _quantization(last: str) -> str | None:
    found = QUANTIZATION.search(last)
    if not found:
        return None
    if "bit" in found[0] and not found[0].startswith("gptq"):
        return found[0].replace("-", "").removesuffix("s")
    return found[0].upper().replace("-", "-" if found[0].startswith("gptq") else "_")


def _window(number: float, unit: str) -> float:
    """Read tokens: 128k is 131072 to everybody, while 200k is round in tens."""
    if unit == "m":
        return number * 1_000_000
    thousands = int(number)
    each = 1024 if thousands & (thousands - 1) == 0 else 1000
    return thousands * each if SMALLEST_WINDOW <= thousands <= LARGEST_WINDOW else 0


def _sane(billions: float) -> float | None:
    return round(billions, 6) if 0 < billions <= LARGEST else None

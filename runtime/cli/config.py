"""`portal config`: check the settings, show them, or describe what they may be."""

import argparse

from portal.runtime.cli.configuration import load_settings
from portal.runtime.cli.terminal import Terminal

NAME = "config"
SUMMARY = "check, show or describe the settings"
DESCRIPTION = (
    "check: is everything valid? show: the settings in force, where each comes from, secrets "
    "masked. schema: every setting as JSON Schema."
)
READS_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("action", choices=("check", "show", "schema"), help="what to do")
    parser.add_argument("--json", action="store_true", help="write JSON (schema is JSON always)")


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Do one of the three."""
    match options.action:
        case "check":
            return _check(options, terminal)
        case "show":
            return _show(options, terminal)
        case _:
            from portal.runtime.ops import explain

            terminal.write_json(explain.json_schema())
            return 0


def _check(options: argparse.Namespace, terminal: Terminal) -> int:
    from portal.runtime.ops.settings import load
    from portal.runtime.routing.personas import as_workspaces, load_personas, own_folder
    from portal.runtime.routing.workspaces import profiles
    from portal.shared.errors import ConfigurationError

    try:
        loaded = load(options.config)
        settings = loaded.settings
        as_workspaces(load_personas(own_folder(settings)), profiles(settings.workspaces))
    except ConfigurationError as error:
        if not options.json:
            raise
        terminal.json({"ok": False, "faults": error.message.splitlines(), "warnings": []})
        return 1
    file = None if loaded.path is None else str(loaded.path)
    if options.json:
        terminal.json({"ok": True, "file": file, "faults": [], "warnings": loaded.warnings})
        return 0
    for warning in loaded.warnings:
        terminal.warn(warning)
    terminal.say(f"The settings are valid: {file or 'no configuration file, defaults throughout'}.")
    return 0


def _show(options: argparse.Namespace, terminal: Terminal) -> int:
    import tomllib

    from portal.runtime.ops import explain

    loaded = load_settings(options, terminal)
    shown = explain.show(loaded)
    if options.json:
        file = None if loaded.path is None else str(loaded.path)
        # Read back from what is shown, so that JSON masks exactly what the text masks.
        settings = tomllib.loads(shown)
        terminal.json({"file": file, "settings": settings, "places": loaded.places})
    else:
        terminal.write(shown)
    return 0

"""Who may import what: the table that the architecture test holds, and the docs show."""

OWN = {
    "shared": ("portal.shared",),
    "functions": ("portal.shared",),
    "mcp": ("portal.mcp", "portal.shared"),
    "runtime": ("portal.functions", "portal.mcp", "portal.runtime", "portal.shared"),
}
"""Parts of Portal that an area may import. A function never imports another."""

THIRD_PARTY = {
    "shared": {"msgspec"},
    "functions": {"msgspec"},
    "mcp": {"msgspec", "mcp"},
}
"""Libraries that an area may import, beside the standard one; the runtime is bound by KEPT_IN."""

KEPT_IN = {
    "dynaconf": "runtime/ops/settings.py",
    "telegram": "runtime/channels/",
    "slack_bolt": "runtime/channels/",
    "slack_sdk": "runtime/channels/",
    "aiosqlite": "runtime/state/",
    "mcp": "mcp/",
}
"""The one place that may import a library whose types must not spread."""

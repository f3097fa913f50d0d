"""The environment variables that choose plugins (docs/plugins/README.md)."""

import os

BUILT_IN = "furiosa_ep"
"""The name of the built-in plugin."""

ENABLED = "FURIOSA_PLUGINS"
"""The plugins to load, names of installed ones or importable modules (or module:object). Unset:
all that are installed."""
DISABLED = "FURIOSA_DISABLE_PLUGINS"
"""The names of plugins not to load; the built-in one is `furiosa_ep`."""
STRICT = "FURIOSA_STRICT_PLUGINS"
"""1 raises where a plugin fails."""


def enabled() -> list[str] | None:
    """The plugins to load beside the built-in one; None where that is not said."""
    return _names(ENABLED) if ENABLED in os.environ else None


def disabled() -> list[str]:
    """The names of the plugins not to load."""
    return _names(DISABLED)


def is_strict() -> bool:
    """Whether to raise where a plugin fails."""
    return os.environ.get(STRICT, "") not in ("", "0")


def _names(variable: str) -> list[str]:
    """What a variable lists, separated by commas."""
    names = (name.strip() for name in os.environ.get(variable, "").split(","))
    return [name for name in names if name]

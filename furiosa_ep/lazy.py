"""Names of a package that are loaded when they are first used, so that importing it is cheap."""

import importlib
import sys
from collections.abc import Callable, Mapping


def loaded_later(package: str, sources: Mapping[str, str]) -> Callable[[str], object]:
    """The function `__getattr__` of a package.

    Args:
        package: its full name.
        sources: for each name the full name of the module that has it, or `module:name` where it
            is called something else there.
    """

    def get(name: str) -> object:
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, there = sources[name].partition(":")
        value: object = getattr(importlib.import_module(module), there or name)
        setattr(sys.modules[package], name, value)
        return value

    return get

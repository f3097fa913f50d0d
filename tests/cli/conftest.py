"""Plugins for the commands to find."""

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from furiosa_ep.partitioner import plugins
from furiosa_ep.partitioner.descriptors import PluginInfo
from furiosa_ep.partitioner.hookspecs import DESCRIPTORS, hookimpl

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Makes a plugin of this name, with these descriptors by hook, one of the process's plugins."""
    names: list[str] = []

    def install(name: str, info: PluginInfo | None = None, **hooks: Any) -> None:
        module = types.ModuleType(name)
        module.__dict__["furiosa_plugin"] = hookimpl(lambda: info or PluginInfo(name, "1.5"))
        for hook, given in hooks.items():
            module.__dict__[hook] = hookimpl(_giving(given) if hook in DESCRIPTORS else given)
        monkeypatch.setitem(sys.modules, name, module)
        names.append(name)
        monkeypatch.setenv("FURIOSA_PLUGINS", ",".join(names))
        _forget()

    _forget()
    yield install
    _forget()


def _giving(descriptors: Sequence[Any]) -> Callable[[], Sequence[Any]]:
    return lambda: descriptors


def _forget() -> None:
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()

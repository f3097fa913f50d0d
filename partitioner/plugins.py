"""The plugin loader: finds plugins, loads each in its own try, and makes the registry of them.

A plugin that fails is left out as a whole and reported once by name; the others go on. With
FURIOSA_STRICT_PLUGINS=1 the first failure raises `PluginError` instead.
"""

import dataclasses
import functools
import importlib
import logging
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from furiosa_ep.kernels.kernel import Kernel
from furiosa_ep.options import OptionError, Options
from furiosa_ep.partitioner import environment
from furiosa_ep.partitioner.descriptors import API_VERSION, GraphPass, Lowering, PluginInfo
from furiosa_ep.partitioner.environment import BUILT_IN
from furiosa_ep.partitioner.hookspecs import DESCRIPTORS, PROJECT, Hooks
from furiosa_ep.partitioner.pass_order import with_passes
from furiosa_ep.partitioner.registry import (
    Key,
    PluginError,
    Registry,
    with_entries,
    with_kernels,
)
from furiosa_ep.partitioner.support import OperatorSupport

BUILT_IN_MODULE = "furiosa_ep.builtin"
_MARK = f"{PROJECT}_impl"
"""The attribute that `hookimpl` gives to a function."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where a plugin is found."""

    name: str
    value: str
    """The module, or module:object."""
    distribution: str = ""
    """Name and version of the package that installed it; "" where it is not known."""
    names_itself: bool = False
    """Whether `name` is only that of its module."""


class Plugin:
    """One plugin: what it is, what it provides, and what is wrong with it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.info: PluginInfo | None = None
        self.problem = ""
        """Why it was left out; "" where all is well."""
        self._hooks: dict[str, pluggy.HookImpl] = {}
        self._provided: dict[str, tuple[Any, ...]] = {}

    def load(self, plugin: Any, manager: pluggy.PluginManager) -> None:
        """Register the plugin's hooks, and ask it what it is.

        Raises:
            Exception: where that fails; nothing is registered then.
        """
        manager.register(plugin, self.name)
        try:
            self._hooks = _hooks_of(plugin, manager)
            self._ask_info()
        except BaseException:
            manager.unregister(plugin)
            raise

    def provided(self, hook: str) -> tuple[Any, ...]:
        """The descriptors that the plugin gives for one hook, marked as its own.

        Raises:
            Exception: what the hook raises, or PluginError for something else than descriptors.
        """
        if hook not in self._provided:
            found: Any = self._hooks[hook].function() if hook in self._hooks else ()
            self._provided[hook] = tuple(self._marked(found, hook))
        return self._provided[hook]

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook that gives nothing, if the plugin has it."""
        if hook in self._hooks:
            implementation = self._hooks[hook]
            implementation.function(*[arguments[name] for name in implementation.argnames])

    def register_kernels(self, registry: Registry) -> None:
        """Make its kernels known to the executor, but for those that others override.

        Raises:
            KernelError: where a library or a symbol is missing.
        """
        kernel: Kernel
        for kernel in self.provided("furiosa_kernels"):
            from furiosa_ep.device_emulator.kernels import register_kernel

            if registry.kernels.get(kernel.opcode) is kernel:
                register_kernel(kernel)

    def has(self, hook: str) -> bool:
        """Whether the plugin has a hook."""
        return hook in self._hooks

    @property
    def given(self) -> Mapping[str, tuple[Any, ...]]:
        """The descriptors that it has given so far, by hook."""
        return types.MappingProxyType(self._provided)

    @property
    def notifications(self) -> tuple[str, ...]:
        """The hooks that it has and that give nothing, in alphabetical order."""
        return tuple(sorted(self._hooks.keys() - DESCRIPTORS.keys() - {"furiosa_plugin"}))

    def _marked(self, found: Iterable[Any], hook: str) -> Iterator[Any]:
        expected: Any = DESCRIPTORS[hook]
        for one in found:
            if not isinstance(one, expected):
                raise PluginError(
                    f"{hook}: expected {expected.__name__}, found {type(one).__name__}"
                )
            yield dataclasses.replace(one, owner=self.name)

    def _ask_info(self) -> None:
        if "furiosa_plugin" not in self._hooks:
            raise PluginError(
                "has no hook furiosa_plugin, which must return PluginInfo(name, version, "
                f"api_version={API_VERSION})"
            )
        info = self._hooks["furiosa_plugin"].function()
        if not isinstance(info, PluginInfo):
            raise PluginError(f"furiosa_plugin: expected PluginInfo, found {type(info).__name__}")
        self.info = info
        if info.api_version != API_VERSION:
            raise PluginError(
                f"was written for version {info.api_version} of the plugin API, this furiosa-ep "
                f"has version {API_VERSION}: install a version of the plugin for it"
            )
        if self.source.names_itself:
            self.name = info.name
        elif self.source.value and info.name != self.name:
            raise PluginError(
                f"calls itself {info.name!r}, its entry point {self.name!r}: give both one name"
            )


@functools.cache
def registry() -> Registry:
    """The built-in plugin's and all others' descriptors; loaded once in a process.

    Raises:
        PluginError: in strict mode, where a plugin fails.
    """
    found = registry_of(plugins())
    good = [plugin for plugin in plugins() if not plugin.problem]
    for plugin in good:
        with reported(plugin):
            plugin.register_kernels(found)
    return registry_of(plugins()) if any(plugin.problem for plugin in good) else found


def check_offered(options: Options) -> None:
    """Look up what provider options name.

    Raises:
        OptionError: where no plugin offers it.
    """
    for key, value, default, hook in (
        ("claim", options.claim, Options.claim, "furiosa_selections"),
        ("target", options.target, Options.target, "furiosa_targets"),
    ):
        if value == default:
            continue
        offered = registry().named(hook)
        if offered and value not in offered:  # nothing is offered without the built-in plugin
            raise OptionError(
                f"option {key!r}={value!r}: expected one of {', '.join(offered)} "
                f"(docs/options.md#{key})"
            )


@functools.cache
def plugins() -> tuple[Plugin, ...]:
    """All plugins, also those that were left out; loaded once in a process."""
    return tuple(load(sources()))


def examined_plugins() -> tuple[Plugin, ...]:
    """All plugins, after everything that they give has been asked for, and every name looked up.

    Raises:
        PluginError: in strict mode, where a plugin fails.
    """
    found = registry()
    for hook in hooks_of_names():
        found.named(hook)
    return plugins()


def hooks_of_names() -> Iterator[str]:
    """The hooks whose descriptors are looked up by their names."""
    for hook, kind in DESCRIPTORS.items():
        if any(field.name == "name" for field in dataclasses.fields(kind)):
            yield hook


def sources() -> list[Source]:
    """The plugins that the environment asks for: the built-in one first, others by name."""
    installed = {source.name: source for source in _installed()}
    wanted = environment.enabled()
    if wanted is not None:
        installed = {
            name: installed.get(name) or Source(name, name, names_itself=True) for name in wanted
        }
    disabled = environment.disabled()
    every = (Source(BUILT_IN, BUILT_IN_MODULE), *(installed[name] for name in sorted(installed)))
    return [source for source in every if source.name not in disabled]


def load(sources: Iterable[Source], objects: Mapping[str, Any] | None = None) -> Iterator[Plugin]:
    """Load plugins from where they are; those among `objects` (by name) are there already."""
    manager = _Manager(PROJECT)
    manager.add_hookspecs(Hooks)
    for source in sources:
        plugin = Plugin(source)
        with reported(plugin):
            found = objects[source.name] if objects and source.name in objects else _import(source)
            plugin.load(found, manager)
            if source.name != BUILT_IN:  # which gives descriptors when they are first needed
                for hook in DESCRIPTORS:
                    plugin.provided(hook)
        yield plugin


def build_registry(plugins: Mapping[str, Any]) -> Registry:
    """The registry of the built-in plugin and of `plugins` (objects with hooks, by name)."""
    named = [Source(BUILT_IN, BUILT_IN_MODULE), *(Source(name, "") for name in plugins)]
    return registry_of(load(named, plugins))


def registry_of(plugins: Iterable[Plugin]) -> Registry:
    """The registry of plugins; one that conflicts with those before it is left out."""
    operators: dict[Key, tuple[OperatorSupport, ...]] = {}
    lowerings: dict[Key, tuple[Lowering, ...]] = {}
    kernels: dict[str, Kernel] = {}
    passes: tuple[GraphPass, ...] = ()
    good = []
    for plugin in plugins:
        if plugin.problem:
            continue
        with reported(plugin):
            added = with_entries(operators, plugin.provided("furiosa_operators"))
            lowered = with_entries(lowerings, plugin.provided("furiosa_lowerings"))
            ordered = with_passes(passes, plugin.provided("furiosa_passes"))
            kernels = with_kernels(kernels, plugin.provided("furiosa_kernels"))
            operators, lowerings, passes = added, lowered, ordered
            good.append(plugin)
    targets = {one.name: one.info.targets for one in good if one.info and one.info.targets}
    return Registry(
        operators=types.MappingProxyType(operators),
        lowerings=types.MappingProxyType(lowerings),
        kernels=types.MappingProxyType(kernels),
        passes=passes,
        targets_of=types.MappingProxyType(targets),
        named=functools.cache(functools.partial(_named, tuple(good))),
        notify=functools.partial(_notify, tuple(good)),
    )


class _Manager(pluggy.PluginManager):
    """Passes over what a module holds without being marked as a hook, in half the time."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> "pluggy.HookimplOpts | None":
        if isinstance(plugin, types.ModuleType) and not hasattr(vars(plugin).get(name), _MARK):
            return None
        return super().parse_hookimpl_opts(plugin, name)


class reported:  # noqa: N801  # a context manager
    """Leaves a plugin out where something fails: reports it once, or raises in strict mode."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, (Exception, SystemExit)):
            return False
        what = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        self._plugin.problem = what
        if environment.is_strict():
            raise PluginError(f"plugin {self._plugin.name!r}: {what}") from error
        _log.warning("plugin %r is left out: %s", self._plugin.name, what)
        return True


def _named(plugins: tuple[Plugin, ...], hook: str) -> Mapping[str, Any]:
    """The descriptors of a hook by name; a plugin whose name is taken already is reported."""
    found: dict[str, Any] = {}
    for plugin in plugins:
        with reported(plugin):
            own: dict[str, Any] = {}
            for one in plugin.provided(hook):
                other = found.get(one.name) or own.get(one.name)
                if other is not None:
                    raise PluginError(f"{hook}: {one.name!r} is taken by plugin {other.owner!r}")
                own[one.name] = one
            found |= own
    return types.MappingProxyType(found)


def _notify(plugins: tuple[Plugin, ...], hook: str, **event: Callable[[], Any]) -> None:
    """Call a hook of all plugins that have it; what it is told is made for each of them."""
    for plugin in plugins:
        if not plugin.has(hook) or plugin.problem:
            continue
        try:
            plugin.call(hook, **{name: make() for name, make in event.items()})
        except (Exception, SystemExit) as error:
            plugin.problem = f"{hook}: {type(error).__name__}: {error}"
            if environment.is_strict():
                raise PluginError(f"plugin {plugin.name!r}: {plugin.problem}") from error
            _log.warning("plugin %r is told of nothing more: %s", plugin.name, plugin.problem)


def _hooks_of(plugin: Any, manager: pluggy.PluginManager) -> dict[str, pluggy.HookImpl]:
    callers = manager.get_hookcallers(plugin) or []
    unknown = [caller.name for caller in callers if not caller.has_spec()]
    if unknown:
        known = ", ".join(name for name in vars(Hooks) if name.startswith("furiosa_"))
        raise PluginError(f"has an unknown hook {unknown[0]}: expected one of {known}")
    return {
        caller.name: implementation
        for caller in callers
        for implementation in caller.get_hookimpls()
        if implementation.plugin is plugin
    }


def _import(source: Source) -> Any:
    module, _, attribute = source.value.partition(":")
    found: Any = importlib.import_module(module)
    for name in filter(None, attribute.split(".")):
        found = getattr(found, name)
    return found


def _installed() -> Iterator[Source]:
    """The entry points of all installed plugins; of two distributions of a name the first counts.

    Mostly there are none or few. importlib.metadata would find them, too, but takes longer to be
    imported than to read these files; it is asked where a place on sys.path is no folder.
    """
    seen = set()
    for place in map(Path, sys.path):
        if place.is_file():  # an archive
            yield from _in_archive(place)
            continue
        for file in sorted(place.glob("*-info/entry_points.txt")):
            name, _, version = file.parent.stem.partition("-")
            if name.lower() not in seen:
                seen.add(name.lower())
                yield from _entry_points(file.read_text("utf-8"), f"{name} {version}".strip())


def _entry_points(text: str, distribution: str) -> Iterator[Source]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == f"[{PROJECT}]" and "=" in line and not line.startswith(("#", ";")):
            name, _, value = (part.strip() for part in line.partition("="))
            yield Source(name, value.partition("[")[0].strip(), distribution)


def _in_archive(archive: Path) -> Iterator[Source]:
    import importlib.metadata

    for made_by in importlib.metadata.distributions(path=[str(archive)]):
        for one in made_by.entry_points.select(group=PROJECT):
            yield Source(one.name, one.value, f"{made_by.name} {made_by.version}")

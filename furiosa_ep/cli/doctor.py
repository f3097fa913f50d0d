"""Check the installation: versions, the native library, the devices, and a small model end to end.

Exits with 1 where something is wrong, and says what to do about it.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from furiosa_ep.partitioner import environment

NAME = "doctor"
HELP = "check the installation and say what is wrong"

PACKAGES = ("onnxruntime", "onnx", "numpy", "pluggy")
VARIABLES = (
    *("FURIOSA_EP_LIBRARY", "FURIOSA_ISA", "FURIOSA_RUN", "OMP_NUM_THREADS"),
    *(environment.ENABLED, environment.DISABLED, environment.STRICT),
)


class Finding(NamedTuple):
    """One line of the examination."""

    topic: str
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command has no arguments of its own."""


def execute(_arguments: argparse.Namespace) -> int:
    """Print what was found; later checks are left out where an earlier one they need failed."""
    code = 0
    for check in CHECKS:
        failed = False
        for finding in _examined(check):
            failed |= bool(finding.remedy)
            print(f"{'PROBLEM' if finding.remedy else 'ok':8} {finding.topic:14} {finding.found}")
            if finding.remedy:
                print(f"{'':8} {'':14} {finding.remedy}")
        if failed:
            code = 1
            if check in _NEEDED_BY_LATER:
                print("the checks that need this were left out")
                break
    return code


def _examined(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # a doctor reports whatever goes wrong
        topic = check.__name__.strip("_").replace("_", " ")
        yield Finding(topic, f"{type(error).__name__}: {error}", "report this if it is no surprise")


def _versions() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    import furiosa_ep

    folder = Path(furiosa_ep.__file__).parent
    yield Finding("furiosa-ep", f"{furiosa_ep.__version__} in {folder}")
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    for package in PACKAGES:
        try:
            yield Finding(package, version(package))
        except PackageNotFoundError:
            remedy = f"install it: {sys.executable} -m pip install {package}"
            if package == "onnxruntime":  # other distributions provide the same module
                remedy = "not needed where another distribution provides the module onnxruntime"
                try:
                    import onnxruntime

                    yield Finding(package, f"{onnxruntime.__version__} of another distribution")
                    continue
                except ImportError:
                    remedy = f"install it: {sys.executable} -m pip install onnxruntime"
            yield Finding(package, "not installed", remedy)


def _environment() -> Iterator[Finding]:
    for name in VARIABLES:
        if name in os.environ:
            yield Finding(name, os.environ[name])


def _library() -> Iterator[Finding]:
    from furiosa_ep.device_emulator.library import LibraryError, library_path, load_library

    try:
        library = load_library()
    except LibraryError as error:
        yield Finding("library", "not usable", str(error))
        return
    yield Finding("library", f"{library.furiosa_version().decode()} in {library_path()}")
    problem = library.furiosa_isa_problem()
    yield Finding("instruction set", library.furiosa_isa_name().decode(), (problem or b"").decode())


def _plugins() -> Iterator[Finding]:
    from furiosa_ep.cli.plugins.inventory import counts
    from furiosa_ep.partitioner.plugins import examined_plugins
    from furiosa_ep.partitioner.registry import PluginError

    try:
        plugins = examined_plugins()
    except PluginError as error:
        yield Finding("plugins", str(error), f"{environment.STRICT} makes this fail sessions")
        return
    for plugin in plugins:
        version = f" {plugin.info.version}" if plugin.info else ""
        remedy = (
            f"install another version of it, or leave it out: {environment.DISABLED}={plugin.name}"
        )
        yield Finding(
            "plugin",
            f"{plugin.name}{version}: {plugin.problem or counts(plugin) or 'gives nothing'}",
            remedy if plugin.problem else "",
        )


def _registration() -> Iterator[Finding]:
    import onnxruntime

    import furiosa_ep

    try:
        furiosa_ep.register()
    except (furiosa_ep.RegistrationError, furiosa_ep.LibraryError) as error:
        yield Finding("provider", "not registered", str(error))
        return
    yield Finding("provider", f"{furiosa_ep.get_ep_name()} is registered")
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == furiosa_ep.get_ep_name()]
    if not devices:
        yield Finding("devices", "none", "ONNX Runtime lists no device of the provider: reinstall")
    for number, device in enumerate(devices):
        facts = ", ".join(f"{key} {value}" for key, value in sorted(device.ep_metadata.items()))
        yield Finding(
            f"device {number}", f"{device.device.type.name} of {device.ep_vendor} ({facts})"
        )


def _self_test() -> Iterator[Finding]:
    from furiosa_ep.cli.selftest import tiny_model
    from furiosa_ep.provider.library import EP_NAME
    from furiosa_ep.verification import verify

    result = verify(tiny_model(), runs=2, options={"claim": "all", "summary": "off"})
    if result.difference is not None:
        yield Finding(
            "self test",
            f"a small model differs from the CPU provider: {result.difference}",
            "this is a defect: report it with the output of furiosa doctor",
        )
        return
    count = result.nodes.get(EP_NAME, 0)
    found = f"a small model: {count} of {sum(result.nodes.values())} nodes on the NPU, equal bits"
    yield Finding("self test", found, "" if count else "nothing was claimed: reinstall furiosa-ep")


CHECKS = (_versions, _environment, _library, _plugins, _registration, _self_test)
_NEEDED_BY_LATER = (_versions, _library, _registration)

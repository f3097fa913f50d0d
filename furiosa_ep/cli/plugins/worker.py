"""The process in which `furiosa plugins check` calls a plugin, for it may not survive.

    python -m furiosa_ep.cli.plugins.worker FILE NAME [OPCODE POSITION SEED]

Loads one plugin and appends JSON objects to a file, one a line. Without an opcode they say what the
plugin is, what does not fit, and which native functions its kernels have; with one, what a native
function of the kernel does wrong. "at" says what comes next, which may be the end of the process.
"""

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from furiosa_ep.kernels.kernel import Kernel, NativeKernel, isas_with
from furiosa_ep.partitioner import environment
from furiosa_ep.partitioner.plugins import (
    Plugin,
    hooks_of_names,
    plugins,
    registry_of,
    sources,
)

Tell = Callable[[dict[str, Any]], None]


def main(path: str, name: str, *native: str) -> None:
    """Run the process."""
    with Path(path).open("a", encoding="utf-8", buffering=1) as stream:

        def tell(message: dict[str, Any]) -> None:
            stream.write(json.dumps(message) + "\n")

        try:
            if native:
                opcode, position, seed = native
                tell(_checked(name, opcode, int(position), int(seed), tell))
            else:
                _examine(name, tell)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            tell({"problem": what})
        tell({"end": True})


def _examine(name: str, tell: Tell) -> None:
    from furiosa_ep.cli.plugins.consistency import findings
    from furiosa_ep.cli.plugins.inventory import counts

    found = _missing(name)
    if found is not None:
        tell({"installed": found})
        return
    tell({"at": "it is loaded"})
    plugin = _plugin(name)
    # Not plugins.registry(), which registers the kernels that are to be checked.
    registry = registry_of(plugins())
    for hook in hooks_of_names():
        registry.named(hook)
    info = plugin.info
    tell({"plugin": plugin.name, "version": info.version if info else "", "gives": counts(plugin)})
    if plugin.problem:
        tell({"problem": plugin.problem})
        return
    for finding in findings(plugin, registry):
        tell({"problem" if finding.is_problem else "note": finding.what})
    for kernel in plugin.provided("furiosa_kernels"):
        tell({"at": f"the reference of kernel {kernel.opcode} is called"})
        tell(_described(kernel))


def _missing(name: str) -> list[str] | None:
    """Where there is no such plugin, and no such module: the names of those that are installed."""
    (source,) = (one for one in sources() if one.name == name)
    module = source.value.partition(":")[0]
    try:
        if not source.names_itself or importlib.util.find_spec(module) is not None:
            return None
    except ModuleNotFoundError:
        pass
    del os.environ[environment.ENABLED]
    return [one.name for one in sources() if one.name != environment.BUILT_IN]


def _plugin(name: str) -> Plugin:
    (found,) = (one for one in plugins() if one.source.name == name)
    return found


def _described(kernel: Kernel) -> dict[str, Any]:
    from furiosa_ep.device_emulator.kernel_check import CaseError, expected_results
    from furiosa_ep.device_emulator.library import active_isa

    here = isas_with(active_isa())
    problem = ""
    try:
        for _ in expected_results(kernel):
            pass
    except CaseError as error:
        problem = str(error)
    natives = [
        {"function": _function_name(one), "isa": one.isa, "here": one.isa in here}
        for one in kernel.native
    ]
    return {"kernel": kernel.opcode, "native": natives, "unusable": problem}


def _function_name(native: NativeKernel) -> str:
    if native.address:
        return str(getattr(native.keep, "__name__", "a function at an address"))
    return f"{Path(native.library).name}:{native.symbol}"


def _checked(name: str, opcode: str, position: int, seed: int, tell: Tell) -> dict[str, Any]:
    from furiosa_ep.device_emulator.kernel_check import check_native

    kernels: tuple[Kernel, ...] = _plugin(name).provided("furiosa_kernels")
    (kernel,) = (one for one in kernels if one.opcode == opcode)
    outcome = check_native(
        kernel, kernel.native[position], seed=seed, before=lambda call: tell({"at": call})
    )
    return {
        "cases": outcome.cases,
        "calls": outcome.calls,
        "faults": [{"case": fault.case, "what": fault.what} for fault in outcome.faults],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Check a plugin: its descriptors, and its native kernels against their references.

Loads the plugin alone, in processes of its own. Each native function is called on the kernel's
cases, at and around the sizes of vectors and tiles: every buffer ends at a page that faults, then
begins behind one; the result is compared with the reference bit by bit, operands and attributes
must be unchanged; at last four threads call it at once. Exits with 1 where something is wrong.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from furiosa_ep.partitioner import environment
from furiosa_ep.partitioner.descriptors import CommandError

NAME = "check"
HELP = "check a plugin's descriptors, and its native kernels against their references"

Data = dict[str, Any]


class Reply(NamedTuple):
    """What a process has told."""

    messages: tuple[Data, ...]
    death: str = ""
    """How it ended too early; "" where it did not."""

    def all(self, key: str) -> list[Any]:
        """What the messages have under a key."""
        return [message[key] for message in self.messages if key in message]

    @property
    def last(self) -> str:
        """What it was at when it ended."""
        return next(reversed(self.all("at")), "")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="an installed plugin, or a module")
    parser.add_argument("--json", action="store_true", help="print JSON (docs/cli.md)")
    parser.add_argument("--seed", type=int, default=0, help="of the kernels' cases (0)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=300,
        metavar="SECONDS",
        help="how long the checks of a native function may take (300)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Check, and print what was found."""
    found = check(arguments.name, arguments.seed, arguments.timeout)
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(_lines(found)))
    return int(not found["ok"])


def check(name: str, seed: int = 0, timeout: float = 300) -> Data:
    """What is wrong with a plugin, as the JSON object that docs/cli.md describes.

    Raises:
        CommandError: where there is no such plugin.
    """
    reply = _ask(timeout, name)
    for names in reply.all("installed"):
        installed = f"installed are {', '.join(names)}" if names else "none is installed"
        raise CommandError(f"no plugin and no module {name!r}: {installed}")
    kernels = [_check_kernel(name, one, seed, timeout) for one in reply.messages if "kernel" in one]
    problems = reply.all("problem")
    if reply.death:
        problems.append(f"{reply.death} when {reply.last or 'furiosa-ep is loaded'}")
    passed = all(native["status"] != "failed" for one in kernels for native in one["native"])
    usable = not any(one["problem"] for one in kernels)
    return {
        "plugin": next(iter(reply.all("plugin")), name),
        "version": next(iter(reply.all("version")), ""),
        "gives": next(iter(reply.all("gives")), ""),
        "ok": passed and usable and not problems,
        "problems": problems,
        "notes": reply.all("note"),
        "kernels": kernels,
    }


def _check_kernel(name: str, kernel: Data, seed: int, timeout: float) -> Data:
    natives = []
    for position, native in enumerate(kernel["native"]):
        found = {"function": native["function"], "isa": native["isa"], "status": "skipped"}
        found |= {"cases": 0, "calls": 0, "faults": []}
        if native["here"] and not kernel["unusable"]:
            found |= _check_native(_ask(timeout, name, kernel["kernel"], str(position), str(seed)))
        natives.append(found)
    return {"opcode": kernel["kernel"], "problem": kernel["unusable"] or None, "native": natives}


def _check_native(reply: Reply) -> Data:
    found: Data = {}
    for message in reply.messages:
        if "faults" in message:
            found = dict(message)
    faults = found.get("faults", []) + [{"case": "", "what": what} for what in reply.all("problem")]
    if reply.death:
        faults.append({"case": reply.last, "what": reply.death})
    return found | {"faults": faults, "status": "failed" if faults else "ok"}


def _ask(timeout: float, name: str, *native: str) -> Reply:
    """Run a worker for a plugin; only that one is loaded, beside the built-in one."""
    enabled = "" if name == environment.BUILT_IN else name
    own = {environment.ENABLED: enabled, environment.DISABLED: "", environment.STRICT: ""}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "told")
        path.touch()
        command = [sys.executable, "-m", "furiosa_ep.cli.plugins.worker", str(path), name, *native]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            end = _end(done)
        except subprocess.TimeoutExpired:
            end = f"has not returned after {timeout:g} seconds"
        lines = path.read_text(encoding="utf-8").splitlines()
    reply = Reply(tuple(map(json.loads, lines)))
    return reply if reply.all("end") else reply._replace(death=end)


def _end(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        return f"crashes ({signal.Signals(-done.returncode).name})"
    said = done.stderr.strip().splitlines()
    return f"ends the process with exit code {done.returncode}" + (f" ({said[-1]})" if said else "")


def _lines(found: Data) -> Iterator[str]:
    yield " ".join(filter(None, (found["plugin"], found["version"]))) + (
        f": {found['gives']}" if found["gives"] else ""
    )
    for kernel in found["kernels"]:
        for native in kernel["native"]:
            what = f"{kernel['opcode']}, {native['function']} ({native['isa']})"
            if native["status"] == "skipped":
                why = "" if kernel["problem"] else ": this machine lacks the instruction set"
                yield f"skipped  {what}{why}"
            elif native["status"] == "ok":
                counts = f"{native['calls']} calls on {native['cases']} cases"
                yield f"ok       {what}: {counts}, equal on every bit"
            for fault in native["faults"]:
                yield f"PROBLEM  {what}: {fault['what']}"
                if fault["case"]:
                    yield f"         {fault['case']}"
        if kernel["problem"]:
            yield f"PROBLEM  kernel {kernel['opcode']}: {kernel['problem']}"
    for note in found["notes"]:
        yield f"note     {note}"
    for problem in found["problems"]:
        yield f"PROBLEM  {problem}"
    if found["ok"]:
        yield "ok       all that was checked"

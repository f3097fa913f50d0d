"""Show what processes do with devices, again and again until Ctrl-C.

NPU is the share of the time in which the device was busy by its model, at most 100 %; Comp the
share of that in which it computed, and I/O the rest, in which it waited for data. JSON has an
object a line, YAML an element of a list for each line of the table.
"""

import argparse
import contextlib
import select
import sys
from collections.abc import Iterator
from time import gmtime, monotonic, strftime, time_ns
from typing import NamedTuple

from furiosa_ep.device_emulator.devices import Client, Counters, Utilization, clients
from furiosa_ep.furiosactl.arguments import add_format, integer
from furiosa_ep.furiosactl.formats import Format, cut, printable, to_json, to_yaml
from furiosa_ep.furiosactl.held import held_files

NAME = "top"
HELP = "what processes do with devices, again and again"

_SHORTEST = 10
_LONGEST = 3_600_000
_MOST_LOOKS = 1_000_000_000
_NOTHING = Counters(*[0] * 8)
_LINE = "{:<30}  {:<8}  {:<10}  {:>6}  {:>7}  {:>6}   "


class Snapshot(NamedTuple):
    """All processes at a moment."""

    seconds: float
    clients: dict[tuple[int, float], Client]
    """By process id and the time of its first device."""

    @classmethod
    def take(cls) -> "Snapshot":
        """That of now."""
        return cls(monotonic(), {(one.pid, one.started): one for one in clients()})


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_format(parser)
    parser.add_argument(
        "--interval",
        type=integer(_SHORTEST, _LONGEST),
        default=1000,
        metavar="MS",
        help=f"milliseconds between two looks, {_SHORTEST} to {_LONGEST} (default: 1000)",
    )
    parser.add_argument(
        "--count",
        type=integer(1, _MOST_LOOKS),
        metavar="N",
        help="end after N looks (default: go on)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print a line for each process and device after each interval."""
    with contextlib.suppress(KeyboardInterrupt):
        _run(arguments)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    before = Snapshot.take()
    if arguments.format is Format.TABLE:
        header = ("Datetime", "PID", "Device", "NPU(%)", "Comp(%)", "I/O(%)", "Command")
        print("Ctrl-C ends this.", _LINE.format(*header) + header[-1], sep="\n", flush=True)
    looks = 0
    while arguments.count is None or looks < arguments.count:
        looks += 1
        wait(arguments.interval)
        after = Snapshot.take()
        for record in _records(before, after):
            print(_line(arguments.format, record), flush=True)
        before = after


def wait(milliseconds: int) -> None:
    """Sleep, or raise BrokenPipeError once nobody reads the output any more."""
    output = select.poll()
    if sys.stdout is not None:
        output.register(sys.stdout, 0)  # which tells of nothing else
    if output.poll(milliseconds):
        raise BrokenPipeError


def _records(before: Snapshot, after: Snapshot) -> Iterator[dict[str, object]]:
    now, part = divmod(time_ns(), 1_000_000_000)
    moment = strftime("%Y-%m-%dT%H:%M:%S", gmtime(now)) + f".{part:09}Z"
    for key, client in sorted(after.clients.items()):
        old = before.clients[key].counters if key in before.clients else {}
        ran = [pe for pe, counters in client.counters.items() if counters != old.get(pe)]
        for held in held_files([*client.holds, *ran]):
            use = Utilization.between(
                [old.get(pe, _NOTHING) for pe in held.pes],
                [client.counters.get(pe, _NOTHING) for pe in held.pes],
                after.seconds - before.seconds,
            )
            yield {
                "datetime": moment,
                "pid": client.pid,
                "device": held.name,
                "npu": round(use.npu, 2),
                "comp": round(use.computation, 2),
                "io": round(use.io, 2),
                "command": client.command,
            }


def _line(form: Format, record: dict[str, object]) -> str:
    if form is Format.JSON:
        return to_json(record)
    if form is Format.YAML:
        return to_yaml(record)
    values = [f"{one:.2f}" if isinstance(one, float) else str(one) for one in record.values()]
    facts = _LINE.format(*values)
    return facts + cut(printable(values[-1]), len(facts))

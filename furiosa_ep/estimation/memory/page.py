"""The memory report as a page: addresses over cycles, computation below."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from furiosa_ep.device_emulator.timing import Schedule, Use
from furiosa_ep.estimation.figures import Estimate, Run
from furiosa_ep.estimation.layers import kind
from furiosa_ep.estimation.table import size
from furiosa_ep.page import document, resource
from furiosa_ep.program import Engine

ENGINES = {
    Engine.COMPUTE: "Compute",
    Engine.DMA: "DMA",
    Engine.IO: "I/O",
    Engine.HOST: "Host",
}


_HOW = """Wheel or pinch: zoom time; with Shift: addresses. Drag: move. Double click: the time of
the NPU. Hover or tap: what it is. Keys: + and − zoom time, Page Up and Page Down addresses; arrows
move; N and P tell of the next and the previous item; 0 shows the time of the NPU, A all."""


def page_of(estimate: Estimate, title: str) -> str:
    """The page; whatever it shows of the model is escaped."""
    data = json.dumps([_plot(run) for run in estimate.runs], separators=(",", ":"))
    data = data.replace("<", "\\u003c")  # that no name ends the element
    return document(
        "Memory report",
        title or "Model",
        _about(estimate),
        f"""<section class="tiles" aria-label="Figures">
{"".join(_tiles(estimate))}
</section>
<p class="hint">{_HOW}</p>
<div class="{"several" if len(estimate.runs) > 1 else "one"}">
{"".join(_section(number, run) for number, run in enumerate(estimate.runs))}
</div>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">{data}</script>""",
        styles=resource(__package__, "page.css"),
        script=resource(__package__, "page.js"),
    )


def _about(estimate: Estimate) -> str:
    return (
        f"What lies where in the SRAM of {escape(estimate.target)} during one inference (batch "
        f"{estimate.batch}), as the timing model has it."
    )


def _tiles(estimate: Estimate) -> Iterator[str]:
    schedules = [run.schedule for run in estimate.runs]
    computing = sum(one.busy(Engine.COMPUTE) for one in schedules)
    total = sum(one.cycles for one in schedules)
    share = f"{computing / total:.1%}" if total else "–"
    yield _tile("Computation / total", share, f"{computing:,} of {total:,} cycles")
    loading = sum(one.busy(Engine.DMA) for one in schedules)
    moved = sum(e.bytes for one in schedules for e in one.events if e.engine is Engine.DMA)
    yield _tile("DMA", f"{loading / total:.1%}" if total else "–", f"{size(moved)} moved")
    memory = estimate.memory
    peak = f"at most in use, of {size(memory.sram_limit)}"
    yield _tile("SRAM", _figure(memory.sram_peak), peak)
    yield _tile("DRAM", _figure(memory.dram), f"of {size(memory.dram_limit)}")
    npu = f"{estimate.npu_latency_ms:.3f} <small>ms</small>"
    yield _tile("NPU", npu, f"{total:,} cycles, and PCI Express")


def _tile(what: str, figure: str, note: str) -> str:
    return (
        f'<div class="tile"><span class="what">{what}</span><span class="figure">{figure}</span>'
        f'<span class="note">{note}</span></div>\n'
    )


def _section(number: int, run: Run) -> str:
    schedule = run.schedule
    computing, total = schedule.busy(Engine.COMPUTE), schedule.cycles
    share = f"{computing / total:.1%}" if total else "–"
    name = "pe#0-1" if schedule.target.pes > 1 else "pe#0"
    return f"""<section class="card memory" aria-label="Program {number}">
<div class="heading"><h2>{name} / exe#{number}</h2>
<span class="hint">{computing:,} of {total:,} cycles compute ({share}),
{len(run.program.commands)} commands</span>
<span class="buttons"><button type="button" data-zoom="0.5" title="Zoom in (+)">+</button>
<button type="button" data-zoom="2" title="Zoom out (-)">−</button>
<button type="button" data-zoom="0" title="The time of the NPU (0)">NPU</button>
<button type="button" data-zoom="all" title="With host and transfers (a)">All</button>
</span></div>
<canvas class="plot" data-plot="{number}" tabindex="0" role="img"
 aria-label="Addresses in SRAM over cycles, computation below"></canvas>
<p class="legend"><span class="activation">activation</span><span class="weight">weight</span>
<span class="compute">compute</span><span class="dma">DMA</span><span class="io">I/O</span>
<span class="host">host</span></p>
</section>
"""


def _plot(run: Run) -> dict[str, Any]:
    """What the script draws: names once, and everything else as numbers."""
    program, schedule = run.program, run.schedule
    names: dict[str, int] = {}

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    uses = list(Use)
    allocations = [
        [number(a.name), uses.index(a.use), a.address, a.size, a.start, a.end]
        for a in schedule.allocations
    ]
    events = []
    for event in schedule.events:
        command = program.commands[event.command]
        label = f"{command.name} ({kind(program, command)})"
        events.append([number(label), int(event.engine), event.start, event.end, event.bytes])
    return {
        "names": list(names),
        "uses": [one.value for one in uses],
        "engines": _used(schedule),
        "allocations": allocations,
        "events": events,
        "sram": schedule.target.sram_bytes * schedule.target.pes,
        "clock": schedule.target.clock_hz,
    }


def _used(schedule: Schedule) -> Sequence[tuple[int, str]]:
    """The engines that do anything, with their names."""
    used = {event.engine for event in schedule.events}
    return [(int(engine), name) for engine, name in ENGINES.items() if engine in used]


def _figure(count: int) -> str:
    number, unit = size(count).split()
    return f"{number} <small>{unit}</small>"

"""The memory report, in a browser."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from furiosa_ep.device_emulator.target import WARBOY
from furiosa_ep.device_emulator.timing import Allocation, Schedule, Use
from furiosa_ep.estimation import Estimate, estimate
from furiosa_ep.estimation.figures import Run
from furiosa_ep.program import Engine, Event
from tests.browser import needs_browser, shown
from tests.estimation.models import network

NAME = "</script><script>alert('x')</script>"
MIB = 1 << 20


@pytest.fixture(scope="module")
def found() -> Estimate:
    """An estimate whose schedule is known by heart: a quarter of the plot is one activation."""
    known = estimate(network())
    (run,) = known.runs
    commands = [dataclasses.replace(one, name=NAME) for one in run.program.commands]
    schedule = Schedule(
        WARBOY,
        events=(
            Event(0, Engine.DMA, 1000, 2000, 4096),
            Event(0, Engine.COMPUTE, 2000, 5000),
            Event(1, Engine.COMPUTE, 5000, 9000),
            Event(0, Engine.HOST, 9000, 20000),
        ),
        allocations=(
            Allocation(NAME, Use.ACTIVATION, 0, 8 * MIB, 1000, 5000),
            Allocation("weights", Use.WEIGHT, 12 * MIB, 4 * MIB, 5000, 9000),
        ),
        dram_bytes=MIB,
        instruction_bytes=100,
    )
    program = dataclasses.replace(run.program, commands=commands)
    return dataclasses.replace(known, runs=(Run(program, schedule),))


def after(page: str, script: str, folder: Path) -> dict[str, str]:
    """What a script has put into the dataset of the body."""
    code = f"<script>addEventListener('load', () => {{ {script} }});</script></body>"
    document, said = shown(page.replace("</body>", code), folder)
    assert not said
    body = re.findall(r"<body[^>]*>", document)[0]
    return dict(re.findall(r'data-(\w+)="([^"]*)"', body))


POINT = """
  const plot = document.querySelector("canvas.plot"), tip = document.getElementById("tip");
  const size = plot.getBoundingClientRect();
  const at = (type, x, y, more = {}) => plot.dispatchEvent(new (more.deltaY ? WheelEvent
    : PointerEvent)(type, {clientX: size.left + x, clientY: size.top + y, bubbles: true,
      cancelable: true, pointerId: 1, ...more}));
  const say = (name, value) => { document.body.dataset[name] = value; };
  const middle = 58 + (size.width - 66) / 2, height = size.height - 26 - 3 * 22;
"""


@needs_browser
def test_the_view_is_the_time_of_the_npu(found: Estimate, tmp_path: Path) -> None:
    script = """say("first", plot.dataset.view);
      document.querySelector("[data-zoom=all]").click(); say("all", plot.dataset.view);
      document.querySelector("[data-zoom='0']").click(); say("again", plot.dataset.view);"""
    said = after(found.memory_report("m"), POINT + script, tmp_path)
    assert said["first"] == said["again"] == f"1000 9000 0 {16 * MIB}"
    assert said["all"] == f"0 20000 0 {16 * MIB}"


@needs_browser
def test_hover_tells_names_cycles_and_addresses(found: Estimate, tmp_path: Path) -> None:
    script = """at("pointermove", middle - 50, height - 20); say("activation", tip.textContent);
      at("pointermove", middle + 50, 20); say("weight", tip.textContent);
      at("pointermove", middle + 50, height - 20); say("empty", tip.hidden);
      at("pointermove", middle + 50, height + 30); say("compute", tip.textContent);"""
    said = after(found.memory_report("m"), POINT + script, tmp_path)
    assert "cycles [1,000, 5,000), 2.00 µs" in said["activation"]
    assert "addresses [0x0, 0x800000), 8,388,608 bytes" in said["activation"]
    assert said["weight"].startswith("weights")
    assert "cycles [5,000, 9,000)" in said["weight"]
    assert said["empty"] == "true"
    assert "compute" in said["compute"]
    assert "cycles [5,000, 9,000)" in said["compute"]


@needs_browser
def test_the_wheel_zooms_and_dragging_moves(found: Estimate, tmp_path: Path) -> None:
    script = """at("wheel", middle, 50, {deltaY: -400}); say("near", plot.dataset.view);
      at("pointerdown", middle, 50); at("pointermove", middle + 100, 50);
      at("pointerup", middle + 100, 50); say("moved", plot.dataset.view);
      at("pointermove", middle, 50); say("still", plot.dataset.view);
      at("wheel", middle, 50, {deltaY: -400, shiftKey: true}); say("high", plot.dataset.view);
      for (let i = 0; i < 9; i++) at("wheel", middle, 50, {deltaY: 400});
      say("far", plot.dataset.view);
      plot.dispatchEvent(new MouseEvent("dblclick")); say("reset", plot.dataset.view);
      plot.dispatchEvent(new KeyboardEvent("keydown", {key: "+"}));
      say("key", plot.dataset.view);"""
    said = after(found.memory_report("m"), POINT + script, tmp_path)
    views = {name: [int(x) for x in text.split()] for name, text in said.items()}
    near, moved = views["near"], views["moved"]
    assert (near[0] + near[1]) / 2 == pytest.approx(5000, abs=20)
    assert near[1] - near[0] == pytest.approx(8000 / 2.718, rel=0.01)
    assert moved[0] < near[0]
    assert moved[1] - moved[0] == pytest.approx(near[1] - near[0], abs=2)
    assert views["still"] == moved
    assert views["high"][:2] == moved[:2]
    assert views["high"][3] - views["high"][2] < 16 * MIB
    assert views["far"][:2] == [0, 20000]
    assert views["reset"] == [1000, 9000, 0, 16 * MIB]
    assert views["key"][:2] == [3000, 7000]


@needs_browser
def test_where_little_is_used_the_view_ends_above_it(found: Estimate, tmp_path: Path) -> None:
    (run,) = found.runs
    little = (Allocation("x", Use.ACTIVATION, 1000, 4000, 1000, 5000),)
    one = Run(run.program, run.schedule._replace(allocations=little))
    script = """say("first", plot.dataset.view);
      document.querySelector("[data-zoom=all]").click(); say("all", plot.dataset.view);"""
    page = dataclasses.replace(found, runs=(one,)).memory_report("m")
    said = after(page, POINT + script, tmp_path)
    assert said["first"] == "1000 9000 0 8192"
    assert said["all"] == f"0 20000 0 {16 * MIB}"


@needs_browser
def test_all_can_be_done_with_keys(found: Estimate, tmp_path: Path) -> None:
    script = """const key = (name, more) => !plot.dispatchEvent(
        new KeyboardEvent("keydown", {key: name, cancelable: true, ...more}));
      say("first", key("n") && tip.textContent); key("n"); say("second", tip.textContent);
      key("p"); say("back", tip.textContent === document.body.dataset.first);
      for (let i = 0; i < 9; i++) key("n"); say("last", tip.textContent);
      key("PageUp"); say("near", plot.dataset.view); say("hidden", tip.hidden);
      say("browser", key("a", {ctrlKey: true}) || key("x"));
      key("A"); say("all", plot.dataset.view); key("0"); say("npu", plot.dataset.view);
      key("ArrowRight"); say("right", plot.dataset.view);"""
    said = after(found.memory_report("m"), POINT + script, tmp_path)
    assert "DMA\ncycles [1,000, 2,000), 0.50 µs\n4,096 bytes" in said["first"]
    assert "activation\ncycles [1,000, 5,000)" in said["second"]
    assert said["back"] == "true"
    assert "host\ncycles [9,000, 20,000), 5.50 µs" in said["last"]
    start, end, low, high = map(int, said["near"].split())
    assert (start, end - start) == (9000, 8000)
    assert (low, high) == (4 * MIB, 12 * MIB)
    assert (said["hidden"], said["browser"]) == ("true", "false")
    assert said["all"] == f"0 20000 0 {16 * MIB}"
    assert said["npu"] == f"1000 9000 0 {16 * MIB}"
    assert said["right"] == f"2000 10000 0 {16 * MIB}"


@needs_browser
def test_the_page_scrolls_where_there_is_nothing_to_zoom(found: Estimate, tmp_path: Path) -> None:
    script = """say("zooms", at("wheel", middle, 50, {deltaY: 4000}));
      document.querySelector("[data-zoom=all]").click();
      say("scrolls", at("wheel", middle, 50, {deltaY: 400}));
      say("nears", at("wheel", middle, 50, {deltaY: -400}));"""
    said = after(found.memory_report("m"), POINT + script, tmp_path)
    assert (said["zooms"], said["scrolls"], said["nears"]) == ("false", "true", "false")


def test_plots_of_several_programs_are_lower(found: Estimate) -> None:
    several = dataclasses.replace(found, runs=found.runs * 2)
    assert '<div class="several">' in several.memory_report("m")
    assert '<div class="several">' not in found.memory_report("m")


@needs_browser
def test_an_error_in_a_script_is_seen(found: Estimate, tmp_path: Path) -> None:
    page = found.memory_report("m").replace("</body>", "<script>missing()</script></body>")
    _, said = shown(page, tmp_path)
    assert any("missing is not defined" in line for line in said)


def test_names_are_escaped_and_nothing_is_loaded(found: Estimate) -> None:
    page = found.memory_report(NAME)
    assert "<script>alert" not in page
    assert not re.search(r"(src|href)=", page)
    assert "default-src 'none'" in page
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    (plot,) = json.loads(data)
    assert plot["names"][0] == NAME
    assert plot["allocations"][1] == [1, 1, 12 * MIB, 4 * MIB, 5000, 9000]


def test_the_header_says_how_much_of_the_time_is_computation(found: Estimate) -> None:
    page = found.memory_report("m")
    assert "87.5%" in page
    assert "7,000 of 8,000 cycles" in page
    assert "pe#0 / exe#0" in page
    assert "pe#0-1 / exe#0" in estimate(network(), "warboy-2pe").memory_report()

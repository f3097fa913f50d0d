"""The demo: RapidOCR, unchanged, reads pages on the emulated NPU (``make demo``).

Renders pages, quantizes RapidOCR's networks on other pages, and starts read_pages.py with
``furiosa run --verify``, which repeats every run of every network on the CPU provider and compares
all bits. Exits with 1 where a bit differs or nothing ran on the NPU.
"""

import argparse
import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pages import PAGES, calibration_pages, render
from PIL import Image, ImageDraw
from quantized_models import FLOAT_MODELS, make_models

HERE = Path(__file__).parent
NPU = "FuriosaProvider"
CALIBRATION_PAGES = 16


def main() -> int:
    """Run the demo and print what it shows."""
    logging.basicConfig(level=logging.ERROR)  # the quantizer warns of what it leaves in float
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("build/demo"))
    parser.add_argument("--passes", type=int, default=4, help="how often each page is read (4)")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)

    pages = {name: render(width, lines) for name, (width, lines) in PAGES.items()}
    for name, page in pages.items():
        page.save(folder / f"{name}.png")
    models = folder / "models"
    if not all((models / f"{part}.onnx").exists() for part in FLOAT_MODELS):
        print(f"Quantizing the three networks on {CALIBRATION_PAGES} other pages ...", flush=True)
        make_models(models, calibration_pages(CALIBRATION_PAGES))

    print("Reading with  furiosa run --verify read_pages.py  ...\n", flush=True)
    found, sessions = _read(folder, models, list(pages), arguments.passes)
    for name, page in pages.items():
        _show_text(name, page, found[f"{name}.png"])
        _draw_boxes(page, found[f"{name}.png"]).save(folder / f"{name}_boxes.png")
    _show_sessions(sessions)
    print(f"\nPictures of the boxes: {folder}/*_boxes.png")
    ran = all(session["nodes"].get(NPU) for session in sessions)
    return int(not ran or any(session["differences"] or session["problem"] for session in sessions))


def _read(
    folder: Path, models: Path, names: list[str], passes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The text of the pages, and what ``furiosa run`` reports of each network."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    command: list[str | Path] = [sys.executable, "-m", "furiosa_ep.cli", "run", "--verify"]
    command += ["--report", report, HERE / "read_pages.py"]
    command += ["--models", models, "--passes", str(passes)]
    command += [folder / f"{name}.png" for name in names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\nread_pages.py failed with exit code {done.returncode}")
    return json.loads(done.stdout), json.loads(report.read_text())


def _show_text(name: str, page: Image.Image, lines: list[dict[str, Any]]) -> None:
    print(f"{name}, {page.width} x {page.height}:")
    for line in lines:
        print(f"    {line['text']}")


def _draw_boxes(page: Image.Image, lines: list[dict[str, Any]]) -> Image.Image:
    picture = page.copy()
    draw = ImageDraw.Draw(picture)
    for line in lines:
        draw.polygon([tuple(corner) for corner in line["box"]], outline="crimson", width=2)
    return picture


def _show_sessions(sessions: list[dict[str, Any]]) -> None:
    columns = "{:<9} {:>18} {:>24} {:>12} {:>12}".format
    print("\n" + columns("network", "nodes on the NPU", "outputs equal the CPU's", "NPU", "CPU"))
    for session in [*sessions, _total(sessions)]:
        total = sum(session["nodes"].values())
        npu = session["nodes"].get(NPU, 0)
        equal = session["compared"] - len(session["differences"])
        print(
            columns(
                session["model"],
                f"{npu} of {total} ({npu / total:.1%})",
                f"{equal} of {session['compared']}",
                _per_run(session["seconds"], session["runs"]),
                _per_run(session["cpu_seconds"], session["runs"]),
            )
        )
    print("Equal means on every bit. Times are of a run, without the first of each input shape,")
    print("which compiles a Program.")


def _total(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"model": "all", "nodes": Counter(), "differences": []}
    for session in sessions:
        total["nodes"].update(session["nodes"])
        total["differences"] += session["differences"]
    for key in ("compared", "runs", "seconds", "cpu_seconds"):
        total[key] = sum(session[key] for session in sessions)
    return total


def _per_run(seconds: float, runs: int) -> str:
    return f"{1000 * seconds / max(runs, 1):.1f} ms"


if __name__ == "__main__":
    sys.exit(main())

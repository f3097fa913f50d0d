"""``furiosa estimate``."""

import json
from pathlib import Path

import onnx
import pytest

from furiosa_ep.cli.main import main
from tests.estimation.models import network


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    return str(path)


def test_figures_are_shown(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", model, "--target", "warboy-2pe", "--batch", "2"]) == 0
    shown = capsys.readouterr().out
    assert "warboy-2pe, batch 2, 1 worker" in shown
    for word in ("NPU latency", "throughput", "utilization", "energy", "confidence", "bound by"):
        assert word in shown


def test_json_is_printed(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--workers", "4", "--devices", "2", "--shape", "x=1,3,32,32"]
    assert main(["estimate", model, *arguments]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["npu_latency_ms"] > 0
    assert (shown["workers"], shown["devices"], shown["batch"]) == (4, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.onnx"], "no model file none.onnx"),
        (["{model}", "--target", "warboy-3pe"], "no target 'warboy-3pe'"),
        (["{open}"], "input 'x' has the shape [n, 3, h, 32], which leaves dims open"),
        (["{open}", "--shape", "x=1,3,32"], "does not fit"),
        (["{model}", "--batch", "0"], "expected a whole number above 0"),
    ],
)
def test_errors_say_what_to_do(
    arguments: list[str],
    message: str,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened = tmp_path / "open.onnx"
    onnx.save(network(("n", 3, "h", 32)), opened)
    words = [word.format(model=model, open=opened) for word in arguments]
    try:
        code = main(["estimate", *words])
    except SystemExit as end:  # argparse
        code = int(end.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err

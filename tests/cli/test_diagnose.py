"""``furiosa diagnose``."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from furiosa_ep.cli.main import main

from .test_quantize import folder as folder  # the fixture


@pytest.fixture
def models(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["quantize", "model.onnx", "--calibration", "npy", "-o", "eight.onnx"]) == 0
    capsys.readouterr()
    return folder


DIAGNOSE = ("diagnose", "model.onnx", "eight.onnx")


def test_table_is_shown(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIAGNOSE, "--data", "npy", "--top", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("layer")
    assert "2 layers, 6 samples" in out
    assert "1 more lose less" in out
    assert not err


def test_format_follows_from_the_ending(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIAGNOSE, "--data", "all.npz", "--limit", "3", "-o", "found.json"]) == 0
    assert json.loads(Path("found.json").read_text())["samples"] == 3
    assert main([*DIAGNOSE, "--data", "npz", "-o", "found.html"]) == 0
    assert Path("found.html").read_text().startswith("<!DOCTYPE html>")
    assert not capsys.readouterr().out
    assert main([*DIAGNOSE, "--data", "npz", "--format", "html"]) == 0
    assert "<h1>eight.onnx</h1>" in capsys.readouterr().out


def test_random_samples_come_with_a_warning(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*DIAGNOSE, "--random", "2", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["samples"] == 2
    assert "these figures mean nothing" in err


def test_what_quantize_says_to_do_next_works(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("images").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(f"images/{number}.png")
    options = ["--resize", "crop", "--mean", "0.4,0.5,0.6", "--std", "0.2", "--limit", "2"]
    arguments = ["--calibration", "images", "-o", "eight.onnx", *options]
    assert main(["quantize", "model.onnx", *arguments]) == 0
    out = capsys.readouterr().out
    assert "2 samples" in out
    line = next(line for line in out.splitlines() if "furiosa diagnose" in line)
    words = shlex.split(line)
    assert words[words.index("--mean") + 1] == "0.4,0.5,0.6"
    assert main(words[words.index("furiosa") + 1 :]) == 0
    assert "3 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.onnx", "eight.onnx"], "nothing to run the models on"),
        (["model.onnx", "missing.onnx", "--random", "1"], "no model file missing.onnx"),
        (["eight.onnx", "model.onnx", "--random", "1"], "wrong order"),
        (["model.onnx", "eight.onnx", "--data", "npy", "--size", "8"], "--size is for folders"),
        (["model.onnx", "eight.onnx", "--random", "1", "-o", "none/x.html"], "cannot write none"),
    ],
)
def test_wrong_input_is_told(
    models: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["diagnose", *arguments]) == 2
    assert message in capsys.readouterr().err

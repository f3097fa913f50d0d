"""``furiosa explain``, ``verify`` and ``doctor``."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from furiosa_ep.cli import doctor
from furiosa_ep.cli.main import main
from furiosa_ep.cli.selftest import tiny_model

from .conftest import Install


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The file of a small QDQ model."""
    path = tmp_path / "model.onnx"
    onnx.save(tiny_model(), path)
    return str(path)


def test_explain_shows_each_node(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", model, "--option", "claim=all"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("NPU 0") == 6
    assert "3 of 3 node units (6 of 6 nodes) in 1 partition" in shown


def test_explain_prints_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", model, "--json", "--option", "disabled_ops=Conv"]) == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    (conv,) = (node for node in nodes if node["op_type"] == "Conv")
    assert (conv["provider"], conv["code"]) == ("CPUExecutionProvider", "disabled-by-option")


def test_verify_says_equal(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", model, "--runs", "2", "--option", "claim=all"]) == 0
    shown = capsys.readouterr().out
    assert "x [1, 3, 8, 8]" in shown
    assert "6 of 6 on FuriosaProvider" in shown
    assert "2 outputs of 2 runs, on every bit" in shown


def test_verify_reads_inputs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 3, 8, 8), np.float32))
    assert main(["verify", model, "--inputs", str(tmp_path / "inputs.npz")]) == 0
    assert "1 outputs of 1 runs" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_verify_finds_a_difference(
    model: str, dtype: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from furiosa_ep import verification
    from furiosa_ep.comparison import differences

    def wrong(names: list[str], expected: list[np.ndarray], actual: list[np.ndarray]) -> object:
        actual = [actual[0].copy()]
        actual[0][0, 3, 0, 7] += 0.5
        return differences(names, expected, actual)

    monkeypatch.setattr(verification, "differences", wrong)
    proto = onnx.load(model)
    (zero,) = (value for value in proto.graph.initializer if value.name == "zero")
    zero.CopyFrom(numpy_helper.from_array(np.array(0, dtype), "zero"))
    onnx.save(proto, model)
    assert main(["verify", model]) == 1
    shown = capsys.readouterr().out
    assert "DIFFERENT in run 0: output 'y' at [0, 3, 0, 7]" in shown
    assert ("int8 activations" in shown) == (dtype == "int8")


@pytest.mark.parametrize("command", ["explain", "verify"])
def test_missing_and_broken_models_are_told(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path / "missing.onnx")]) == 2
    assert "no model file" in capsys.readouterr().err
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_model().SerializeToString()[:300])
    assert main([command, str(broken)]) == 2
    assert "broken.onnx" in capsys.readouterr().err


def test_verify_refuses_shapes_that_do_not_fit(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", model, "--shape", "x=1,3,9,9"]) == 2
    assert "does not fit" in capsys.readouterr().err


def test_doctor_finds_nothing_wrong(capsys: pytest.CaptureFixture[str], install: Install) -> None:
    install("fine")  # and no other plugin, whatever is installed
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for topic in ("onnxruntime", "library", "instruction set", "device 0", "self test"):
        assert topic in shown
    assert "PROBLEM" not in shown


def test_doctor_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from furiosa_ep.device_emulator import library

    monkeypatch.setenv("FURIOSA_EP_LIBRARY", "/missing.so")
    library.load_library.cache_clear()
    try:
        assert main(["doctor"]) == 1
    finally:
        library.load_library.cache_clear()
    shown = capsys.readouterr().out
    assert "PROBLEM  library" in shown
    assert "must name an existing" in shown
    assert "self test" not in shown


def test_doctor_reports_unexpected_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> object:
        raise OSError("out of order")

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    assert main(["doctor"]) == 1
    assert "OSError: out of order" in capsys.readouterr().out


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err

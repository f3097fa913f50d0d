"""What README.md and the documents say works: examples, commands, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from furiosa_ep.cli.main import main
from furiosa_ep.cli.selftest import tiny_model
from furiosa_ep.furiosactl import main as furiosactl
from furiosa_ep.partitioner import plugins
from furiosa_ep.quantization import quantize_model

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUNNABLE = (
    "README.md",
    "docs/cli.md",
    "docs/quantization.md",
    "docs/devices.md",
    "docs/estimate.md",
    "docs/profiling.md",
)
"""Pages whose examples run as they stand, from the first to the last."""


TUTORIAL = "docs/plugins/tutorial.md"
"""What it says is done with its plugin installed: tests/examples/test_tutorial.py."""


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def identity(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the files that examples name; no plugins, whatever is installed."""
    monkeypatch.setenv("FURIOSA_PLUGINS", "")
    _forget_plugins()
    model = tiny_model()
    argmax = helper.make_node("ArgMax", ["y"], ["label"], "label", axis=1, keepdims=0)
    model.graph.node.append(argmax)
    del model.graph.output[:]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [1, 8, 8])
    model.graph.output.append(label)
    onnx.save(model, tmp_path / "model.onnx")
    onnx.save(_float_model(), tmp_path / "float_model.onnx")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (12, 9), "teal").save(tmp_path / "photos" / "1.png")
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 3, 8, 8), np.float32))
    (tmp_path / "samples").mkdir()
    for number, sample in enumerate(np.random.default_rng(0).normal(size=(4, 3, 8, 8))):
        np.save(tmp_path / "samples" / f"{number}.npy", sample.astype(np.float32))
    quantized = quantize_model(_float_model(), ranges={"x": (-3, 3), "y": (-9, 9)})
    onnx.save(quantized, tmp_path / "quantized.onnx")
    (tmp_path / "ranges.json").write_text('{"x": [-3, 3], "y": [-9, 9]}')
    (tmp_path / "program.py").write_text("import onnxruntime")
    (tmp_path / "acme.py").write_text(
        "from furiosa_ep.plugin import PluginInfo, hookimpl\n"
        "furiosa_plugin = hookimpl(lambda: PluginInfo('acme', '2.0'))\n"
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    _forget_plugins()


def _forget_plugins() -> None:
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()


def _float_model() -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("page", RUNNABLE)
@pytest.mark.usefixtures("folder")
def test_python_examples_run(page: str) -> None:
    names: dict[str, object] = {}
    for number, code in enumerate(blocks(ROOT / page, "python")):
        exec(compile(code, f"{page}, example {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_python_examples_are_python(page: Path) -> None:
    for number, code in enumerate(blocks(page, "python")):
        compile(code, f"{page}, example {number}", "exec")


def shell_lines(but: str = "") -> Iterator[str]:
    for page in PAGES:
        if identity(page) == but:
            continue
        for block in blocks(page, "sh"):
            yield from block.splitlines()


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {line.split()[1] for line in shell_lines() if line.startswith("make ")}
    assert {"demo", "test"} <= used <= targets


@pytest.mark.parametrize(
    "line", sorted({x for x in shell_lines(but=TUTORIAL) if x.startswith("furiosa ")})
)
@pytest.mark.usefixtures("folder")
def test_commands_work(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith("furiosa run"):  # replaces the process
        monkeypatch.setattr("os.execve", lambda *_: None)
    assert main(shlex.split(line)[1:]) in (0, None)


@pytest.mark.parametrize("line", sorted({x for x in shell_lines() if x.startswith("furiosactl ")}))
def test_commands_that_look_at_devices_work(line: str, host: str) -> None:
    assert furiosactl.main(shlex.split(line)[1:]) == 0


@pytest.mark.usefixtures("folder")
def test_readme_shows_what_explain_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main(["explain", "model.onnx"])
    (shown,) = blocks(ROOT / "README.md", "text")
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("page", PAGES, ids=identity)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{identity(page)} links to {target}"


def test_table_of_contents_has_every_page() -> None:
    contents = (ROOT / "docs/README.md").read_text()
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"({p.name})" not in contents]
    assert missing in ([], ["README.md"])

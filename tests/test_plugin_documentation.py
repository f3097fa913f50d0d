"""docs/plugins: the hooks' pages equal the code, and their examples are plugins that load."""

import logging
import re
import shutil
import subprocess
import types
from pathlib import Path

import pytest

from furiosa_ep.files import package_file
from furiosa_ep.partitioner import hook_document
from furiosa_ep.partitioner.descriptors import API_VERSION, PluginInfo
from furiosa_ep.partitioner.hookspecs import DESCRIPTORS, hookimpl
from furiosa_ep.partitioner.plugins import BUILT_IN_MODULE, Source, load, registry_of

FOLDER = Path(__file__).parents[1] / "docs" / "plugins"
PAGES = hook_document.pages()


def test_every_hook_has_a_page_and_a_line_in_the_table() -> None:
    assert {path.stem for path in (FOLDER / "hooks").glob("*.md")} == set(PAGES)
    table = (FOLDER / "README.md").read_text()
    assert re.findall(r"^\| \[(furiosa_\w+)\]", table, re.MULTILINE) == list(PAGES)


@pytest.mark.parametrize("hook", PAGES)
def test_a_page_begins_with_what_the_code_says(hook: str) -> None:
    text = (FOLDER / "hooks" / f"{hook}.md").read_text()
    assert text[: text.index(hook_document.KEPT)] == PAGES[hook], (
        "write it anew: python -m furiosa_ep.partitioner.hook_document docs/plugins/hooks"
    )


def examples() -> list[tuple[str, int, str]]:
    found = []
    for hook in PAGES:
        text = (FOLDER / "hooks" / f"{hook}.md").read_text()
        _, _, example = text.partition(hook_document.KEPT)
        blocks = re.findall(r"^```python\n(.*?)^```$", example, re.MULTILINE | re.DOTALL)
        found += [(hook, number, code) for number, code in enumerate(blocks)]
    return found


@pytest.mark.parametrize(("hook", "number", "code"), examples())
def test_an_example_is_a_plugin_that_has_the_hook(
    hook: str, number: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    module = types.ModuleType("example")
    exec(compile(code, f"{hook}, example {number}", "exec"), module.__dict__)
    if hook != "furiosa_plugin":
        module.__dict__["furiosa_plugin"] = hookimpl(lambda: PluginInfo("example", "1"))
    sources = [Source("furiosa_ep", BUILT_IN_MODULE), Source("example", "", names_itself=True)]
    with caplog.at_level(logging.WARNING):
        plugins = list(load(sources, {"example": module}))
        found = registry_of(plugins)
        for named in ("furiosa_targets", "furiosa_cost_models", "furiosa_selections"):
            found.named(named)
    assert not caplog.records
    assert plugins[1].has(hook)
    if hook in DESCRIPTORS:
        assert plugins[1].provided(hook)


def test_the_versions_that_are_documented_are_the_code_s() -> None:
    text = (FOLDER / "versioning.md").read_text()
    assert f"| `furiosa_ep.plugin.API_VERSION` | {API_VERSION} |" in text


def test_the_kernel_in_the_description_of_the_call_frame_compiles(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (code,) = re.findall(r"^```c\n(.*?)^```$", (FOLDER / "call-frame.md").read_text(), re.M | re.S)
    source = tmp_path / "kernel.c"
    source.write_text(code)
    strict = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    header = package_file("include", "furiosa_ep.h").parent
    subprocess.run([compiler, *strict, f"-I{header}", str(source)], check=True)

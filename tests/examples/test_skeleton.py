"""``furiosa plugins new``: what it writes is what the examples are."""

import sys
from pathlib import Path

import pytest

from furiosa_ep.cli.main import main
from furiosa_ep.cli.plugins.new import KERNELS, rendered, write
from tests.examples.installation import EXAMPLES, ROOT, run


@pytest.mark.parametrize(("name", "kernel"), [("hello-kernel", "c"), ("numba-kernel", "numba")])
def test_an_example_is_what_the_command_writes(name: str, kernel: str) -> None:
    folder = EXAMPLES / f"furiosa-ep-{name}"
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    own = (
        path for path in files if not path.parts[0].startswith(".") and "__" not in path.parent.name
    )
    found = {path.as_posix(): (folder / path).read_text() for path in own}
    assert found == rendered(name, kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    "command",
    [
        "ruff check --no-cache",
        "ruff format --check --no-cache",
        "mypy --strict src tests",
    ],
)
def test_what_is_written_is_clean(kernel: str, command: str, tmp_path: Path) -> None:
    tool, *arguments = command.split()
    pytest.importorskip(tool)
    folder = write(tmp_path, "audio-kernel", kernel)
    variables = {"MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache/skeleton")}
    done = run([sys.executable, "-m", tool, *arguments], folder=folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_writes_a_package_and_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("my_audio", "furiosa-ep-other"):
        assert main(["plugins", "new", name, "--kernel", "numpy", "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "furiosa plugins check my-audio\n" in shown
    assert f"cd {tmp_path / 'furiosa-ep-my-audio'}\n" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "furiosa-ep-my-audio",
        "furiosa-ep-other",
    ]
    for path, text in rendered("my-audio", "numpy").items():
        assert (tmp_path / "furiosa-ep-my-audio" / path).read_text() == text


@pytest.mark.parametrize("name", ["", "Audio", "3d", "audio--kernel", "audio.kernel", "a/b", "-x"])
def test_a_name_that_is_none_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "new", "--folder", str(tmp_path), "--", name]) == 2
    assert f"furiosa: name {name!r}: expected lower-case words" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_name_of_the_built_in_plugin_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("furiosa-ep", "furiosa_ep"):
        assert main(["plugins", "new", name, "--folder", str(tmp_path)]) == 2
        assert "is that of the built-in plugin" in capsys.readouterr().err


def test_a_folder_that_exists_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "furiosa-ep-audio").mkdir()
    assert main(["plugins", "new", "audio", "--folder", str(tmp_path)]) == 2
    assert "furiosa-ep-audio exists already" in capsys.readouterr().err
    assert not list((tmp_path / "furiosa-ep-audio").iterdir())

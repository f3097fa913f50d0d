"""Commands of plugins: they stand beside the built-in ones, and their failures stay theirs."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from furiosa_ep.cli.main import main
from furiosa_ep.partitioner.descriptors import CliCommand, CommandError
from furiosa_ep.partitioner.plugins import registry

from .conftest import Install

ROOT = Path(__file__).resolve().parents[2]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")


def greet(arguments: argparse.Namespace) -> int:
    sys.stdout.write(f"hello {arguments.name}\n")
    return 3


def raises(_: Any) -> int:
    raise KeyError("oops")


def command(name: str = "hello", **changes: Any) -> CliCommand:
    fields: dict[str, Any] = {"help": "greet", "configure": configure, "execute": greet}
    return CliCommand(name, **{**fields, **changes})


def test_a_plugin_s_command_runs(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("mine", furiosa_commands=[command(description="Greets by name.")])
    assert main(["hello", "you"]) == 3
    assert capsys.readouterr().out == "hello you\n"
    with pytest.raises(SystemExit, match="0"):
        main(["hello", "--help"])
    shown = capsys.readouterr().out
    assert "usage: furiosa hello [-h] name" in shown
    assert "Greets by name." in shown


def test_help_names_the_commands_of_all_plugins(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = command("odd", help=None)
    install("mine", furiosa_commands=[command(help="greets, 100% of the time"), odd])
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for text in ("explain", "run", "hello", "100% of the time", "odd"):
        assert text in shown


def test_a_command_may_run_a_program(install: Install) -> None:
    seen = []

    def execute(arguments: argparse.Namespace) -> int:
        seen.append((arguments.name, arguments.program))
        return 0

    def split(arguments: Any) -> tuple[list[str], list[str]]:
        return list(arguments[:1]), list(arguments[1:])

    install("mine", furiosa_commands=[command(execute=execute, split=split)])
    assert main(["hello", "you", "--help", "x"]) == 0
    assert seen == [("you", ["--help", "x"])]


@pytest.mark.parametrize("part", ["configure", "execute", "split"])
def test_a_command_that_raises_is_reported_with_its_plugin(
    part: str, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("mine", furiosa_commands=[command("hello", **{part: raises})])
    assert main(["hello", "you"]) == 1
    told = capsys.readouterr().err
    assert "command 'hello' of plugin 'mine' failed: KeyError: 'oops'" in told
    assert "furiosa --debug hello" in told
    with pytest.raises(KeyError):
        main(["--debug", "hello", "you"])
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])


def test_a_command_may_refuse(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    def execute(_: argparse.Namespace) -> int:
        raise CommandError("nobody is here")

    install("mine", furiosa_commands=[command(execute=execute)])
    assert main(["hello", "you"]) == 2
    assert capsys.readouterr().err == "furiosa: nobody is here\n"


def test_a_name_that_is_taken_is_left_out(
    install: Install, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    install("mine", furiosa_commands=[command("hello"), command("doctor")])
    found = registry().named("furiosa_commands")
    assert found["doctor"].owner == "furiosa_ep"
    assert "hello" not in found
    (record,) = caplog.records
    assert "plugin 'mine'" in record.message
    assert "'doctor' is taken by plugin 'furiosa_ep'" in record.message
    with pytest.raises(SystemExit, match="2"):
        main(["hello", "you"])
    assert "no command 'hello': there are quantize, diagnose" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "Hello", "-h", "two words", "a/b"])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ValueError, match="expected lower-case letters"):
        command(name)


def test_without_the_built_in_plugin_help_says_so(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("mine")
    monkeypatch.setenv("FURIOSA_DISABLE_PLUGINS", "furiosa_ep")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "no commands: FURIOSA_DISABLE_PLUGINS leaves out furiosa_ep" in told
    with pytest.raises(SystemExit, match="2"):
        main(["doctor"])
    assert "FURIOSA_DISABLE_PLUGINS leaves out furiosa_ep" in capsys.readouterr().err
    install("other", furiosa_commands=[command("doctor")])
    assert main(["doctor", "you"]) == 3


def test_strict_mode_fails_commands_that_load_plugins(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("mine", furiosa_commands=["no command"])
    monkeypatch.setenv("FURIOSA_STRICT_PLUGINS", "1")
    assert main(["hello"]) == 1
    assert "plugin 'mine': furiosa_commands: expected CliCommand" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["explain", "verify", "doctor", "plugins", "run"])
def test_a_built_in_command_starts_without_plugins_and_numpy(name: str) -> None:
    program = (
        "import sys\n"
        "from furiosa_ep.cli.main import main\n"
        "try:\n"
        f"    main([{name!r}, '--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'pluggy', 'importlib.metadata'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), "FURIOSA_PLUGINS": "no_such_module"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == "set()\n"

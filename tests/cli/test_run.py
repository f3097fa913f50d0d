"""``furiosa run``: programs behave as under python, with FuriosaProvider first."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from furiosa_ep.cli.main import main
from furiosa_ep.cli.selftest import tiny_model

ROOT = Path(__file__).resolve().parents[2]
PROGRAM_START = """
import numpy as np, onnxruntime as ort
from onnxruntime import InferenceSession, SessionOptions
FEED = {"x": np.ones((1, 3, 8, 8), np.float32)}
def first(session):
    session.run(None, FEED)
    print(session.get_providers()[0])
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``furiosa run`` with these arguments in a folder that has model.onnx."""
    onnx.save(tiny_model(), tmp_path / "model.onnx")

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, "-m", "furiosa_ep.cli", "run", "--option", "claim=all", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def write(folder: Path, name: str, code: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(code))
    return name


CREATIONS = {
    "none": "InferenceSession('model.onnx')",
    "available": "InferenceSession('model.onnx', providers=ort.get_available_providers())",
    "cpu": "InferenceSession('model.onnx', providers=['CPUExecutionProvider'])",
    "positional": "InferenceSession('model.onnx', None, ['CPUExecutionProvider'])",
    "bytes": "InferenceSession(open('model.onnx', 'rb').read())",
    "tuples": "InferenceSession('model.onnx', providers=[('CPUExecutionProvider', {})])",
    "provider_options": "InferenceSession('model.onnx', providers=['CPUExecutionProvider'], "
    "provider_options=[{}])",
    "add_provider": "InferenceSession('model.onnx', with_provider())",
    "add_devices": "InferenceSession('model.onnx', with_devices())",
    "policy": "InferenceSession('model.onnx', with_policy())",
    "set_providers": "reset(InferenceSession('model.onnx'))",
    "module": "ort.InferenceSession('model.onnx')",
    "subclass": "Subclass('model.onnx')",
}


def test_furiosa_provider_is_first_however_sessions_are_made(run: Run, tmp_path: Path) -> None:
    program = PROGRAM_START + textwrap.dedent(
        """
        class Subclass(InferenceSession):
            def __init__(self, model):
                super().__init__(model, providers=["CPUExecutionProvider"])
        def with_provider():
            options = SessionOptions()
            options.add_provider("CPUExecutionProvider", {})
            return options
        def with_devices():
            options = SessionOptions()
            cpus = [d for d in ort.get_ep_devices() if d.ep_name == "CPUExecutionProvider"]
            options.add_provider_for_devices(cpus[:1], {})
            return options
        def with_policy():
            options = SessionOptions()
            options.set_provider_selection_policy(ort.OrtExecutionProviderDevicePolicy.PREFER_CPU)
            return options
        def reset(session):
            session.set_providers(["CPUExecutionProvider"])
            return session
        """
    )
    program += "\n".join(f"first({creation})" for creation in CREATIONS.values())
    write(tmp_path, "program.py", program)
    done = run("program.py")
    assert done.returncode == 0, done.stderr
    assert dict(zip(CREATIONS, done.stdout.split(), strict=True)) == dict.fromkeys(
        CREATIONS, "FuriosaProvider"
    )


def test_import_after_start_and_in_a_function_are_seen(run: Run, tmp_path: Path) -> None:
    code = """
        def main():
            from onnxruntime import InferenceSession
            print(InferenceSession("model.onnx").get_providers()[0])
        main()
        """
    done = run(write(tmp_path, "program.py", code))
    assert done.stdout == "FuriosaProvider\n"


@pytest.mark.parametrize(
    "arguments", [("program.py",), ("folder/program.py",), ("-m", "package.program")]
)
def test_program_sees_what_python_shows_it(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    code = """
        import sys, json
        print(json.dumps([sys.argv, sys.path, __name__, __file__, sorted(sys.meta_path, key=str)
            and __spec__ is None]))
        """
    for name in ("program.py", "folder/program.py", "package/program.py"):
        write(tmp_path, name, code)
    (tmp_path / "package" / "__init__.py").touch()
    rest = ("--verify", "-h", "--", "a b")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    expected = subprocess.run(
        [sys.executable, *arguments, *rest],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    done = run(*arguments, *rest)
    assert done.stdout == expected.stdout
    assert done.stderr == ""


def test_exit_code_and_traceback_are_the_programs(run: Run, tmp_path: Path) -> None:
    assert run(write(tmp_path, "program.py", "raise SystemExit(7)")).returncode == 7
    done = run(write(tmp_path, "program.py", "1 / 0"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert "furiosa" not in done.stderr


def test_child_processes_run_on_the_npu(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "child.py", PROGRAM_START + "first(InferenceSession('model.onnx'))")
    code = """
        import multiprocessing, subprocess, sys
        def work(_):
            from onnxruntime import InferenceSession
            return InferenceSession("model.onnx").get_providers()[0]
        if __name__ == "__main__":
            subprocess.run([sys.executable, "child.py"], check=True)
            for method in ("spawn", "fork"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(*pool.map(work, [0]))
        """
    done = run(write(tmp_path, "program.py", code))
    assert done.stdout.split() == ["FuriosaProvider"] * 3, done.stderr


def test_own_sitecustomize_still_runs(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "own/sitecustomize.py", "import builtins; builtins.mark = 'own'")
    program = write(tmp_path, "program.py", "import sitecustomize; print(mark, sitecustomize)")
    path = os.pathsep.join([str(tmp_path / "own"), str(ROOT)])
    assert "own" in run(program, PYTHONPATH=path).stdout


def test_summary_and_report_tell_nodes_and_runs(run: Run, tmp_path: Path) -> None:
    session = "session = InferenceSession('model.onnx')\n"
    program = PROGRAM_START + session + "for _ in range(3): session.run(None, FEED)"
    done = run("--verify", "--report", "report.json", write(tmp_path, "program.py", program))
    assert "furiosa run: model.onnx: 6 of 6 nodes (100.0%) on the NPU; 3 runs in" in done.stderr
    assert "3 outputs: equal the CPU provider's on every bit" in done.stderr
    ((record,),) = map(json.loads, (tmp_path / "report.json").read_text().splitlines())
    assert record["nodes"] == {"FuriosaProvider": 6}
    assert (record["first_runs"], record["runs"], record["compared"]) == (1, 2, 3)
    assert record["differences"] == []


def test_verify_finds_a_difference(run: Run, tmp_path: Path) -> None:
    code = """
        import numpy as np, onnxruntime as ort
        session = ort.InferenceSession("model.onnx")
        real = session._sess
        class Wrong:
            def __getattr__(self, name):
                return getattr(real, name)
            def run(self, *arguments):
                outputs = real.run(*arguments)
                outputs[0][0, 1, 2, 3] += 1
                return outputs
        session._sess = Wrong()
        session.run(["y"], {"x": np.ones((1, 3, 8, 8), np.float32)})
        """
    done = run("--verify", write(tmp_path, "program.py", code))
    assert "1 output: 1 difference, the first in output 'y' at [0, 1, 2, 3]" in done.stderr


def test_program_without_onnxruntime_has_no_summary(run: Run, tmp_path: Path) -> None:
    code = "import sys; print([m for m in sys.modules if m.startswith(('furiosa', 'onnx'))])"
    done = run(write(tmp_path, "program.py", code))
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_missing_library_is_not_passed_over(run: Run, tmp_path: Path) -> None:
    program = write(tmp_path, "program.py", "import onnxruntime")
    done = run(program, FURIOSA_EP_LIBRARY=str(tmp_path / "missing.so"))
    assert done.returncode == 1
    assert "missing.so" in done.stderr


def test_installed_command_is_found(run: Run, tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "tool"
    write(tmp_path, "bin/tool", f"#!{sys.executable}\nimport sys; print('tool', sys.argv[1:])")
    tool.chmod(0o755)
    done = run("tool", "-x", PATH=os.pathsep.join([str(tool.parent), os.environ["PATH"]]))
    assert done.stdout == "tool ['-x']\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no program to run"),
        (["missing.py"], "no script and no installed command 'missing.py'"),
        (["--option", "claim", "x.py"], "expected KEY=VALUE"),
        (["--option", "clam=all", "x.py"], "no such option"),
    ],
)
def test_usage_errors_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: Any = main(["run", *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err

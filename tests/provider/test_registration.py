"""furiosa_ep.register and its kin, and the life of a registration."""

import ctypes
import subprocess
from pathlib import Path

import onnxruntime as ort
import pytest

import furiosa_ep
from furiosa_ep.provider import registration
from tests.provider.conftest import RunPython
from tests.provider.fake_driver import Behaviour


def ours() -> list[str]:
    return [d.ep_name for d in ort.get_ep_devices() if d.ep_name == "FuriosaProvider"]


def test_register_and_unregister_can_be_repeated(driver: Behaviour) -> None:
    for _ in range(2):
        furiosa_ep.register()
        furiosa_ep.register()
        assert ours() == ["FuriosaProvider"]
        assert "FuriosaProvider" in ort.get_available_providers()
        furiosa_ep.unregister()
        furiosa_ep.unregister()
        assert ours() == []


def test_conventional_names() -> None:
    assert furiosa_ep.get_ep_name() == "FuriosaProvider"
    assert furiosa_ep.get_ep_names() == ["FuriosaProvider"]
    assert Path(furiosa_ep.get_library_path()).is_absolute()
    assert Path(furiosa_ep.get_include(), "furiosa_ep.h").is_file()


def test_provider_and_package_have_one_version(driver: Behaviour) -> None:
    (device,) = (d for d in ort.get_ep_devices() if d.ep_name == "FuriosaProvider")
    assert device.ep_metadata["version"] == furiosa_ep.__version__


def test_an_onnxruntime_that_is_too_old_is_named() -> None:
    with pytest.raises(furiosa_ep.RegistrationError, match=r"1\.26 or later, this is 1\.25\.1"):
        registration._check_version("1.25.1")
    registration._check_version("1.26.0rc1")
    registration._check_version("2.0")


def test_the_library_refuses_an_onnxruntime_that_is_too_old() -> None:
    """The same check from C, where onnxruntime is whatever a program has loaded."""
    get_api = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)
    get_version = ctypes.CFUNCTYPE(ctypes.c_void_p)
    version = ctypes.create_string_buffer(b"1.25.1")
    create_status = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    said: list[bytes] = []
    asked: list[int] = []

    def create(code: int, text: bytes) -> int:
        said.append(text)
        return 1

    slots = (ctypes.c_void_p * 500)()
    status = create_status(create)
    slots[0] = ctypes.cast(status, ctypes.c_void_p).value

    def api(version: int) -> int:
        asked.append(version)
        return ctypes.addressof(slots)

    class Base(ctypes.Structure):
        _fields_ = [("api", get_api), ("version", get_version)]

    base = Base(get_api(api), get_version(lambda: ctypes.addressof(version)))
    library = ctypes.CDLL(furiosa_ep.get_library_path())
    count = ctypes.c_size_t(7)
    library.CreateEpFactories.restype = ctypes.c_void_p
    factory = ctypes.c_void_p()
    failed = library.CreateEpFactories(
        b"x",
        ctypes.byref(base),
        None,
        ctypes.byref(factory),
        ctypes.c_size_t(1),
        ctypes.byref(count),
    )
    assert failed == 1
    assert asked == [25]
    assert b"1.26 or later, this is 1.25.1" in said[0]
    assert count.value == 0


@pytest.mark.parametrize("content", [None, b"", b"no library"])
def test_a_library_that_is_missing_or_broken_is_named(
    content: bytes | None, tmp_path: Path, run_plain_python: RunPython
) -> None:
    path = tmp_path / "libfuriosa_ep.so"
    if content is not None:
        path.write_bytes(content)
    result = run_plain_python(
        f"import os; os.environ['FURIOSA_EP_LIBRARY'] = {str(path)!r}\n"
        "import furiosa_ep\n"
        "try: furiosa_ep.register()\n"
        "except furiosa_ep.LibraryError as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    assert str(path) in result.stdout


def test_a_library_of_another_version_is_named(run_plain_python: RunPython) -> None:
    result = run_plain_python(
        "import furiosa_ep\n"
        "furiosa_ep.__version__ = '99.0.0'\n"
        "try: furiosa_ep.register()\n"
        "except furiosa_ep.LibraryError as error: print(error)\n"
    )
    assert "the Python package is 99.0.0" in result.stdout, result.stderr


def test_importing_the_package_loads_nothing(run_plain_python: RunPython) -> None:
    result = run_plain_python(
        "import sys, furiosa_ep\n"
        "print({'numpy', 'onnx', 'onnxruntime', 'ctypes'} & {*sys.modules})\n"
        "assert 'register' in dir(furiosa_ep)\n"
    )
    assert result.stdout.strip() == "set()", result.stdout + result.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'registre'"):
        _ = furiosa_ep.registre  # type: ignore[attr-defined]


def test_direct_registration_with_onnxruntime(run_plain_python: RunPython) -> None:
    result = run_plain_python(
        "import numpy as np, onnxruntime as ort, furiosa_ep\n"
        "from tests.provider import fake_driver, models\n"
        "fake_driver.install()\n"
        "ort.register_execution_provider_library('mine', furiosa_ep.get_library_path())\n"
        "session = ort.InferenceSession(models.chain(), providers=['FuriosaProvider'])\n"
        "print(session.run(None, {'x': np.zeros((2, 3), np.float32)})[0].tolist())\n"
        "furiosa_ep.register()\n"
        "print(sum(d.ep_name == 'FuriosaProvider' for d in ort.get_ep_devices()))\n"
        "try: furiosa_ep.unregister()\n"
        "except furiosa_ep.RegistrationError as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    values, devices, error = result.stdout.splitlines()
    assert values == "[[-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]]"
    assert devices == "1"
    assert "not registered under the name" in error


def test_without_a_compiler_everything_stays_on_the_cpu(run_plain_python: RunPython) -> None:
    result = run_plain_python(
        "import numpy as np, onnxruntime as ort\n"
        "from furiosa_ep.device_emulator.library import library_path\n"
        "from tests.provider import models\n"
        "ort.register_execution_provider_library('FuriosaProvider', str(library_path()))\n"
        "providers = ['FuriosaProvider', 'CPUExecutionProvider']\n"
        "session = ort.InferenceSession(models.chain(), providers=providers)\n"
        "print(session.run(None, {'x': np.zeros((2, 3), np.float32)})[0].tolist())\n"
    )
    assert result.returncode == 0, result.stderr
    assert "[-1.0, -2.0, -3.0]" in result.stdout
    assert "call furiosa_ep.register() before the session is created" in result.stderr


def test_a_session_outlives_unregistering(run_python: RunPython) -> None:
    result = run_python(
        "sessions = [ort.InferenceSession(models.chain([n, 3]), providers=PROVIDERS)\n"
        "            for n in (2, 'N')]\n"
        "furiosa_ep.unregister()\n"
        "for session in sessions:\n"
        "    print(session.run(None, {'x': X})[0][1].tolist())\n"
        "del session, sessions\n"
        "furiosa_ep.register()\n"
        "session = ort.InferenceSession(models.chain(), providers=PROVIDERS)\n"
        "furiosa_ep.unregister()\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["[-4.0, -6.0, -8.0]"] * 2


def test_a_forked_child_can_run(run_python: RunPython) -> None:
    result = run_python(
        "import os\n"
        "sessions = [ort.InferenceSession(models.chain([n, 3]), providers=PROVIDERS)\n"
        "            for n in (2, 'N')]\n"
        "for session in sessions: session.run(None, {'x': X})\n"
        "child = os.fork()\n"
        "for session in sessions:\n"
        "    y = session.run(None, {'x': X})[0]\n"
        "    assert y[1].tolist() == [-4, -6, -8], y\n"
        "y = sessions[1].run(None, {'x': X[:1]})[0]\n"
        "assert y.tolist() == [[-1, -3, -5]], y\n"
        "session = ort.InferenceSession(models.chain(), providers=PROVIDERS)\n"
        # The way multiprocessing does: otherwise ONNX Runtime joins its sessions' threads, which
        # the child does not have.
        "if child == 0: os._exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "5", result.stderr


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "del session", "furiosa_ep.unregister()"])
def test_exit_with_a_live_session(end: str, run_python: RunPython) -> None:
    result = run_python(
        "import builtins, sys\n"
        "session = ort.InferenceSession(models.chain(['N', 3]), providers=PROVIDERS)\n"
        "session.run(None, {'x': X})\n"
        "builtins.kept = session  # outlives the module\n" + end
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def test_programs_run_after_the_interpreter_began_to_end(run_python: RunPython) -> None:
    """A Program that exists needs no Python; one that must be compiled fails with the reason."""
    result = run_python(
        "import atexit\n"
        "session = ort.InferenceSession(models.chain(['N', 3]), providers=PROVIDERS)\n"
        "session.run(None, {'x': X})\n"
        "from furiosa_ep.provider.library import install_compiler\n"
        "library = __import__('ctypes').CDLL(furiosa_ep.get_library_path())\n"
        "library.furiosa_set_compiler(None)\n"
        "print(session.run(None, {'x': X})[0][0].tolist())\n"
        "try: session.run(None, {'x': X[:1]})\n"
        "except Exception as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    assert "[-1.0, -3.0, -5.0]" in result.stdout
    assert "no compiler in this process" in result.stdout


def test_the_library_exports_its_api_only() -> None:
    path = furiosa_ep.get_library_path()
    listed = subprocess.run(
        ["nm", "--dynamic", "--defined-only", path], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    entry_points = {"CreateEpFactories", "ReleaseEpFactory", "RegisterCustomOps"}
    assert entry_points < names
    assert all(name.startswith("furiosa_") for name in names - entry_points)

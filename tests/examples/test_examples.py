"""The working examples do what their own tests say, and their kernels take no lock."""

import sys
from pathlib import Path

import pytest

from tests.examples.installation import EXAMPLES, run

PLUGINS = ("hello-kernel", "numba-kernel", "pass-only")

GIL = """
import sys, threading, time
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep

model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21, "%(module)s" : 1]>
    g (uint8[1024,512] x) => (uint8[1024,512] y) <float s = {0.02}, uint8 z = {128}> {
        values = DequantizeLinear(x, s, z)
        first = Softmax (values)
        codes = QuantizeLinear(first, s, z)
        again = DequantizeLinear(codes, s, z)
        rows = %(module)s.PeakNormalize (again)
        y = QuantizeLinear(rows, s, z)
    }
''').SerializeToString()
furiosa_ep.register()
own = {"claim": "all", "summary": "off", "python_kernels": "allow"}
session = ort.InferenceSession(model, providers=[("FuriosaProvider", own)])
x = np.random.default_rng(0).integers(256, size=(1024, 512), dtype=np.uint8)
(expected,) = session.run(None, {"x": x})
last = int(np.flatnonzero(expected)[-1])

def finishes():
    # Whether a run in another thread ends while this thread keeps the lock.
    binding, y = session.io_binding(), np.zeros(x.shape, np.uint8)
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, np.uint8, y.shape, y.ctypes.data)
    codes = memoryview(y).cast("B")
    worker = threading.Thread(target=session.run_with_iobinding, args=(binding,))
    sys.setswitchinterval(1000)
    # Waits for the worker, which keeps the lock until its run lets it go: while the run computes
    # the softmax, this thread takes it.
    worker.start()
    end = time.perf_counter() + 1
    while codes[last] == 0 and time.perf_counter() < end:  # nothing that lets the lock go
        pass
    done = codes[last] != 0
    sys.setswitchinterval(1e-4)
    worker.join()
    return done

print("finishes" if all(finishes() for _ in range(20)) else "waits")
"""


@pytest.mark.parametrize("name", PLUGINS)
def test_the_tests_of_an_example_pass(name: str, plugins: Path, tmp_path: Path) -> None:
    if name == "numba-kernel":
        pytest.importorskip("numba")
    tests = EXAMPLES / f"furiosa-ep-{name}" / "tests"
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={tests.parent}"]
    done = run([sys.executable, "-m", "pytest", *options, str(tests)], plugins, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hello-kernel", "finishes"), ("numba-kernel", "finishes"), ("numpy-kernel", "waits")],
)
def test_native_kernels_run_while_another_thread_keeps_the_gil(
    name: str, expected: str, plugins: Path
) -> None:
    if name == "numba-kernel":
        pytest.importorskip("numba")
    program = GIL % {"module": name.replace("-", "_")}
    done = run([sys.executable, "-c", program], plugins)
    assert done.stdout.strip() == expected, done.stderr

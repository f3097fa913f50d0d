"""Do threads wait for each other in kernels of plugins? One kernel in C, numba and NumPy.

python -m benchmarks.plugin_threads [SECONDS]

Writes, installs and runs the plugins of `furiosa plugins new`. A session of one thread is run
by one Python thread and by four; where a kernel takes no lock, four do more.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime as ort

import furiosa_ep
from furiosa_ep.cli.plugins.new import KERNELS, write

THREADS = 4
MODEL = """
    <ir_version: 9, opset_import: ["" : 21, "threads_{kind}" : 1]>
    g (uint8[256,1024] x) => (uint8[256,1024] y) <float s = {{0.02}}, uint8 z = {{128}}> {{
        values = DequantizeLinear(x, s, z)
        rows = threads_{kind}.PeakNormalize (values)
        y = QuantizeLinear(rows, s, z)
    }}
"""


def main(seconds: str = "2") -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [write(Path(folder), f"threads-{kind}", kind) for kind in KERNELS]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        installed = Path(folder, "installed")
        subprocess.run([*pip, "--no-build-isolation", "--target", installed, *sources], check=True)
        path = [str(installed), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        print(f"{os.cpu_count()} cores; runs a second of 256 x 1024 elements")
        print(f"{'kernel':8}{'1 thread':>12}{f'{THREADS} threads':>12}{'ratio':>8}")
        for kind in KERNELS:
            command = [sys.executable, "-m", "benchmarks.plugin_threads", seconds, kind]
            subprocess.run(command, env=environment, check=True)


def measure(kind: str, seconds: float) -> None:
    """Print the line of one kernel, whose plugin is installed."""
    furiosa_ep.register()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    npu = {"claim": "all", "summary": "off", "python_kernels": "allow"}
    model = onnx.parser.parse_model(MODEL.format(kind=kind)).SerializeToString()
    session = ort.InferenceSession(model, options, [("FuriosaProvider", npu)])
    one, several = (_throughput(session, threads, seconds) for threads in (1, THREADS))
    print(f"{kind:8}{one:12.0f}{several:12.0f}{several / one:8.2f}")


def _throughput(session: Any, threads: int, seconds: float) -> float:
    """Runs a second."""
    x = np.random.default_rng(0).integers(256, size=(256, 1024), dtype=np.uint8)
    session.run(None, {"x": x})
    counts = [0] * threads
    start = time.perf_counter()

    def run(thread: int) -> None:
        while time.perf_counter() < start + seconds:
            session.run(None, {"x": x})
            counts[thread] += 1

    workers = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(sys.argv[2], float(sys.argv[1]))
    else:
        main(*sys.argv[1:])

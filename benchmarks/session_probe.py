"""What creating a session costs: run in a process of its own, which imports no more than a user's.

    python -m benchmarks.session_probe {CPU|NPU} MODEL

Prints a JSON object: seconds for the first and a second session and for a run, and megabytes (2^20
bytes): the peak of the process after it has run the first session, and what the second one added.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

import furiosa_ep

PROVIDERS = {"CPU": ["CPUExecutionProvider"], "NPU": ["FuriosaProvider", "CPUExecutionProvider"]}
RUNS = 20
_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def create(provider: str, model: str | bytes, **options: str) -> ort.InferenceSession:
    """A session on one thread; `options` are FuriosaProvider's."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    names: list[Any] = list(PROVIDERS[provider])
    if provider == "NPU":
        names[0] = (names[0], options)
    return ort.InferenceSession(model, settings, providers=names)


def zeros(session: ort.InferenceSession) -> dict[str, np.ndarray]:
    """Inputs for a run."""
    shapes = {
        one.name: [dim if isinstance(dim, int) else 1 for dim in one.shape]
        for one in session.get_inputs()
    }
    types = {one.name: _DTYPES[one.type] for one in session.get_inputs()}
    return {name: np.zeros(shape, types[name]) for name, shape in shapes.items()}


def megabytes(field: str) -> float:
    """A size of this process in /proc/self/status: VmHWM (its peak) or VmRSS."""
    with Path("/proc/self/status").open() as status:
        (line,) = (line for line in status if line.startswith(field + ":"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Measure and print."""
    provider, model = sys.argv[1:]
    furiosa_ep.register()
    start = time.perf_counter()
    first = create(provider, model)
    cold = time.perf_counter() - start
    feeds = zeros(first)
    for _ in range(2):
        first.run(None, feeds)
    peak, before = megabytes("VmHWM"), megabytes("VmRSS")
    start = time.perf_counter()
    second = create(provider, model)
    warm = time.perf_counter() - start
    second.run(None, feeds)
    added = megabytes("VmRSS") - before
    runs = []
    for _ in range(RUNS):
        start = time.perf_counter()
        second.run(None, feeds)
        runs.append(time.perf_counter() - start)
    found = {"cold": cold, "peak": peak, "second": warm, "added": added, "run": median(runs)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()

"""FuriosaProvider beside CPUExecutionProvider on quantized models, in one process, in turns.

    python -m benchmarks.providers [--threads 1 2] [--models resnet50] [--seconds 6]

Both providers run in bursts of 50 ms, one after the other, so that what disturbs the machine
disturbs both. Times are medians of a run; below 1 the NPU is faster.
"""

import argparse
import time
from statistics import median

import numpy as np
import onnxruntime as ort

import furiosa_ep
from benchmarks.models import TOPOLOGIES
from furiosa_ep.quantization import quantize_model

BURST = 0.05
"""Seconds."""
PRESETS = {"uint8": "default", "int8": "int8"}


def medians(
    sessions: list[ort.InferenceSession], feeds: dict[str, np.ndarray], seconds: float
) -> list[float]:
    """The median time of a run of each session, in seconds, from bursts in turns."""
    times: list[list[float]] = [[] for _ in sessions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for session, own in zip(sessions, times, strict=True):
            session.run(None, feeds)  # not counted: it finds the other one's data in the cache
            burst_end = time.perf_counter() + BURST
            while (start := time.perf_counter()) < burst_end:
                session.run(None, feeds)
                own.append(time.perf_counter() - start)
    return [median(own) for own in times]


def main() -> None:
    """Print a line for each model, activation type and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", choices=list(TOPOLOGIES), default=list(TOPOLOGIES))
    parser.add_argument("--seconds", type=float, default=6, help="for each line")
    arguments = parser.parse_args()
    furiosa_ep.register()
    print(f"{'model':<14}{'type':<7}{'threads':>7}{'CPU ms':>9}{'NPU ms':>9}{'ratio':>7}")
    for name in arguments.models:
        model = TOPOLOGIES[name]()
        value = model.graph.input[0]
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        sample = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        for kind, preset in PRESETS.items():
            data = quantize_model(model, [sample], preset).SerializeToString()
            for threads in arguments.threads:
                sessions = [
                    _session(data, threads, providers) for providers in ([], ["FuriosaProvider"])
                ]
                cpu, npu = medians(sessions, {value.name: sample}, arguments.seconds)
                print(
                    f"{name:<14}{kind:<7}{threads:>7}{cpu * 1e3:>9.2f}{npu * 1e3:>9.2f}"
                    f"{npu / cpu:>7.2f}",
                    flush=True,
                )


def _session(model: bytes, threads: int, providers: list[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Threads that wait for one session must not take the processor from the other.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])


if __name__ == "__main__":
    main()

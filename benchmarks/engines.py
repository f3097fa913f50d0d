"""The engines of the race: each makes from a model a callable that runs it once."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

import furiosa_ep

Run = Callable[[], object]
Feeds = dict[str, npt.NDArray[np.float32]]


class Engine(NamedTuple):
    """A runtime with the kind of model that it gets."""

    name: str
    runtime: Callable[[bytes, Feeds, int, int], list[Run]]
    """Takes a model, its inputs, the threads of a run and how many runs may go on at once, and
    returns that many callables."""
    kind: str
    """Of the model: uint8, int8 (the type of its activations) or float32."""

    @property
    def is_peer(self) -> bool:
        """Whether it is one that the NPU is compared with."""
        return self.runtime is not _npu


def _npu(model: bytes, feeds: Feeds, threads: int, parallel: int) -> list[Run]:
    providers = ["FuriosaProvider", "CPUExecutionProvider"]
    return [_session(model, feeds, threads, providers) for _ in range(parallel)]


def _cpu(model: bytes, feeds: Feeds, threads: int, parallel: int) -> list[Run]:
    return [_session(model, feeds, threads, ["CPUExecutionProvider"]) for _ in range(parallel)]


def _session(model: bytes, feeds: Feeds, threads: int, providers: list[str]) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options, providers=providers)
    return lambda: session.run(None, feeds)


def _openvino(model: bytes, feeds: Feeds, threads: int, parallel: int) -> list[Run]:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if parallel == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads * parallel,
        "NUM_STREAMS": parallel,
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", settings)

    def runner() -> Run:
        request = compiled.create_infer_request()
        return lambda: request.infer(feeds, share_inputs=True, share_outputs=True)

    return [runner() for _ in range(parallel)]


ENGINES = (
    Engine("FuriosaProvider uint8", _npu, "uint8"),
    Engine("FuriosaProvider int8", _npu, "int8"),
    Engine("ONNX Runtime uint8", _cpu, "uint8"),
    Engine("ONNX Runtime int8", _cpu, "int8"),
    Engine("ONNX Runtime float", _cpu, "float32"),
    Engine("OpenVINO uint8", _openvino, "uint8"),
    Engine("OpenVINO int8", _openvino, "int8"),
    Engine("OpenVINO float", _openvino, "float32"),
)
"""OpenVINO runs a float model at its default precision: bfloat16 where the CPU has it."""


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    peers = {name: version(name) for name in ("onnxruntime", "openvino")}
    return {"furiosa-ep": furiosa_ep.__version__, **peers}

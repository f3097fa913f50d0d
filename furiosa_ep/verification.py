"""Hold FuriosaProvider against ONNX Runtime's CPU provider, bit by bit."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from furiosa_ep.comparison import Difference, differences, input_shapes
from furiosa_ep.inputs import quantized_ranges, random_feeds
from furiosa_ep.provider.custom_ops import register_custom_ops
from furiosa_ep.provider.library import EP_NAME
from furiosa_ep.provider.registration import register

Array = npt.NDArray[Any]

CPU = "CPUExecutionProvider"
RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
"""The session config entry that `node_counts` needs."""
STOP_SPINNING = "session.force_spinning_stop"
"""Threads of one session must not take the time of the other's while both are compared."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    runs: int
    outputs: int
    """How many outputs were compared: runs times outputs of the model."""
    difference: Difference | None
    """The first one of the last run, if any."""
    shapes: Mapping[str, tuple[int, ...]]
    """The shapes of the inputs in the first run."""
    nodes: Mapping[str, int]
    """How many nodes each provider ran."""
    npu_seconds: float
    """Time of all runs on FuriosaProvider."""
    cpu_seconds: float
    """Time of all runs on the CPU provider."""

    @property
    def equal(self) -> bool:
        """Whether all outputs of all runs are equal on every bit."""
        return self.difference is None


def verify(
    model: str | Path | bytes | onnx.ModelProto,
    feeds: Iterable[Mapping[str, Array]] | None = None,
    *,
    runs: int = 1,
    seed: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    options: Mapping[str, str] | None = None,
) -> Verification:
    """Run `model` on FuriosaProvider and on the CPU provider, and compare all outputs bit by bit.

    `feeds` are input dicts; without them, `runs` random ones are made from `seed`, where `shapes`
    gives the shapes that the model leaves open. `options` are provider options. Stops at the first
    run that differs. Each provider runs once more before the first feed that is timed.

    Raises:
        InputError: where no inputs can be made for the model; see `random_feeds`.
        Exception: what ONNX Runtime raises for the model or the feeds.
    """
    register()
    source = os.fspath(model) if isinstance(model, (str, os.PathLike)) else _as_bytes(model)
    config = ort.SessionOptions()
    config.add_session_config_entry(STOP_SPINNING, "1")
    register_custom_ops(config)
    cpu = ort.InferenceSession(source, config, [CPU])
    config.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    npu = ort.InferenceSession(source, config, [(EP_NAME, dict(options or {})), CPU])
    if feeds is None:
        ranges = quantized_ranges(_structure(source))
        feeds = random_feeds(cpu.get_inputs(), runs, seed, shapes, ranges)
    return _compare(npu, cpu, feeds)


def _as_bytes(model: bytes | onnx.ModelProto) -> bytes:
    return model if isinstance(model, bytes) else bytes(model.SerializeToString())


def _structure(source: str | bytes) -> onnx.ModelProto:
    if isinstance(source, bytes):
        return onnx.load_model_from_string(source)
    return onnx.load_model(source, load_external_data=False)


def _compare(npu: Any, cpu: Any, feeds: Iterable[Mapping[str, Array]]) -> Verification:
    names = [output.name for output in cpu.get_outputs()]
    difference: Difference | None = None
    shapes: dict[str, tuple[int, ...]] = {}
    seconds = dict.fromkeys((npu, cpu), 0.0)
    seen = set()
    count = 0
    for feed in feeds:
        outputs = {}
        for session in (npu, cpu):
            if input_shapes(feed) not in seen:
                session.run(None, feed)  # compiles or reserves memory for these shapes
            start = time.perf_counter()
            outputs[session] = session.run(None, feed)
            seconds[session] += time.perf_counter() - start
        seen.add(input_shapes(feed))
        shapes = shapes or {name: np.shape(value) for name, value in feed.items()}
        count += 1
        found = differences(names, outputs[cpu], outputs[npu])
        if found:
            difference = found[0]
            break
    return Verification(
        runs=count,
        outputs=count * len(names),
        difference=difference,
        shapes=shapes,
        nodes=node_counts(npu),
        npu_seconds=seconds[npu],
        cpu_seconds=seconds[cpu],
    )


def node_counts(session: Any) -> dict[str, int]:
    """How many nodes each provider runs of a session that records its graph assignment."""
    counts: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        counts[subgraph.ep_name] += len(subgraph.get_nodes())
    return dict(counts)

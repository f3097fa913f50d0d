"""Random QDQ models, each a pure function of its seed."""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime as ort

from tests.random_graphs import compute, movement
from tests.random_graphs.maker import ModelMaker

OPERATORS: tuple[tuple[Callable[[ModelMaker], bool], int], ...] = (
    (compute.conv, 10),
    (compute.conv_transpose, 1),
    (compute.gemm, 4),
    (compute.matmul, 3),
    (compute.binary, 8),
    (compute.unary, 5),
    (compute.clip, 2),
    (compute.silu, 2),
    (compute.chain, 2),
    (compute.pool, 3),
    (compute.global_pool, 1),
    (compute.reduce, 2),
    (compute.softmax, 1),
    (movement.concat, 3),
    (movement.split, 2),
    (movement.slice_, 2),
    (movement.pad, 1),
    (movement.reshape, 3),
    (movement.transpose, 2),
    (movement.resize, 1),
    (movement.space_depth, 1),
    (movement.gather, 1),
    (movement.expand, 1),
    (movement.batch_normalization, 1),
    (movement.fresh_input, 1),
)


def random_model(
    seed: int, *, signed: bool | None = False
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and its inputs. `signed`: int8 activations, uint8, or (None) a mixture."""
    maker = ModelMaker(seed, signed=signed)
    maker.new_input(maker.random_shape())
    weights = np.array([weight for _, weight in OPERATORS], float)
    wanted = maker.integer(1, 12)
    for _ in range(100):
        if wanted == 0:
            break
        index = int(maker.random.choice(len(OPERATORS), p=weights / weights.sum()))
        nodes, values = len(maker.nodes), len(maker.values)
        used = set(maker.used)
        if OPERATORS[index][0](maker):
            wanted -= 1
        else:
            del maker.nodes[nodes:], maker.values[values:]
            maker.used = used
    return maker.finish(), maker.feeds


def difference(expected: list[np.ndarray], actual: list[np.ndarray]) -> str | None:
    """How two lists of outputs differ: first index and both values; None where they do not."""
    for number, (want, got) in enumerate(zip(expected, actual, strict=True)):
        if want.shape != got.shape or want.dtype != got.dtype:
            return f"output {number}: {want.dtype}{want.shape} against {got.dtype}{got.shape}"
        same = (want == got) | ((want != want) & (got != got))
        if not same.all():
            index = tuple(int(i) for i in np.argwhere(~same)[0])
            return (
                f"output {number}, {int((~same).sum())} of {same.size} elements, first at {index}: "
                f"{want[index]} against {got[index]}"
            )
    return None


def operators(model: onnx.ModelProto) -> Iterator[str]:
    """The operator types of a model, without Q and DQ."""
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            yield node.op_type


Provider = tuple[str, dict[str, str]]

NPU: Provider = ("FuriosaProvider", {"claim": "all"})


def session(model: onnx.ModelProto, *providers: Provider) -> ort.InferenceSession:
    """A session of one thread on these providers and the CPU provider; no silent fallback."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=[*providers, "CPUExecutionProvider"],
        enable_fallback=0,
    )


def compare(seed: int, *, signed: bool | None = False) -> str | None:
    """How the providers differ on one model, or None; also None where the CPU provider fails."""
    model, feeds = random_model(seed, signed=signed)
    try:
        expected = session(model).run(None, feeds)
    except Exception:
        return None
    try:
        found = difference(expected, session(model, NPU).run(None, feeds))
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    return found and f"seed {seed}: {found} [{' '.join(sorted(set(operators(model))))}]"

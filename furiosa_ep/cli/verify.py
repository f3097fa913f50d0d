"""Run a model on FuriosaProvider and on CPUExecutionProvider, and compare all bits.

Without --inputs the inputs are random. Exits with 1 where an output differs, and prints the first
place: the output, the index, and both values.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from furiosa_ep.cli.options import add_provider_options, add_shape_options
from furiosa_ep.partitioner.descriptors import CommandError

if TYPE_CHECKING:
    import numpy as np

NAME = "verify"
HELP = "hold a model on FuriosaProvider against CPUExecutionProvider"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--inputs", type=Path, metavar="FILE.npz", help="one array for each input of the model"
    )
    parser.add_argument("--runs", type=int, default=3, help="random inputs to try (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (0)")
    add_shape_options(parser)
    add_provider_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Compare, and print what was found."""
    from furiosa_ep.provider.library import EP_NAME
    from furiosa_ep.verification import verify

    if not arguments.model.is_file():
        raise CommandError(f"no model file {arguments.model}")
    feeds = None if arguments.inputs is None else _feeds(arguments.inputs)
    try:
        result = verify(
            arguments.model,
            feeds,
            runs=arguments.runs,
            seed=arguments.seed,
            shapes=dict(arguments.shape),
            options=dict(arguments.option),
        )
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise CommandError(f"{arguments.model}: {error}") from error
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in result.shapes.items())
    npu, total = result.nodes.get(EP_NAME, 0), sum(result.nodes.values())
    print(f"inputs    {shapes}")
    print(f"nodes     {npu} of {total} on {EP_NAME}")
    print(f"time      {_per_run(result.npu_seconds, result.runs)} on {EP_NAME}", end="")
    print(f", {_per_run(result.cpu_seconds, result.runs)} on CPUExecutionProvider, a run")
    if result.difference is not None:
        print(f"DIFFERENT in run {result.runs - 1}: {result.difference}")
        if _has_int8_activations(arguments.model):
            print(
                "          steps may differ with int8 activations: ONNX Runtime computes parts of"
            )
            print("          such a model in float, the NPU in integers (docs/numerics.md)")
        return 1
    print(f"equal     {result.outputs} outputs of {result.runs} runs, on every bit")
    if npu == 0:
        print(f"          but no node ran on the NPU: see furiosa explain {arguments.model}")
    return 0


def _has_int8_activations(path: Path) -> bool:
    import onnx

    graph = onnx.load_model(path, load_external_data=False).graph
    types = {value.name: value.data_type for value in graph.initializer}
    return any(
        types.get(node.input[2]) == onnx.TensorProto.INT8
        for node in graph.node
        if node.op_type == "QuantizeLinear" and len(node.input) > 2
    )


def _per_run(seconds: float, runs: int) -> str:
    return f"{1000 * seconds / max(runs, 1):.2f} ms"


def _feeds(path: Path) -> Iterator[dict[str, "np.ndarray"]]:
    import numpy as np

    try:
        with np.load(path) as arrays:
            return iter([dict(arrays)])
    except (OSError, ValueError) as error:
        raise CommandError(f"--inputs {path}: {error}; expected an .npz file") from error

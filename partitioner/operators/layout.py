"""Where ONNX Runtime computes on images with the channels last.

Its NHWC transformer puts Transposes around every quantized convolution, and moves them through the
operators between two convolutions until they cancel. For most operators this changes no bit; sums
of float32 are added in another order.
"""

from furiosa_ep.graph import Graph, Node
from furiosa_ep.partitioner.quantization import is_dequantize, is_quantize

_FOLLOWS = frozenset(
    {"Abs", "Add", "AveragePool", "Clip", "Concat", "Div", "Elu", "Erf", "Exp", "GlobalAveragePool"}
    | {"HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "MaxPool", "Mean", "Min"}
    | {"Mish", "Mul", "Neg", "Pad", "Pow", "Reciprocal", "Relu", "Resize", "Sigmoid", "Slice"}
    | {"Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Sub", "Sum", "Tanh"}
)
"""Operators that Transposes move through."""


def between_convolutions(node: Node, graph: Graph) -> bool:
    """Whether ONNX Runtime runs `node`, which keeps the rank of its image, channels last.

    It does where a convolution comes before it and another behind it, with only operators between
    them that Transposes move through.
    """
    return _reaches(node, graph, forward=False) and _reaches(node, graph, forward=True)


def bytes_channels_last(node: Node, graph: Graph) -> bool:
    """`between_convolutions` for a linear Resize of bytes.

    Through this one, Transposes are moved wherever they come, as it is faster on channels last.
    """
    return between_convolutions(node, graph) or _reaches(node, graph, False, frozenset({"Resize"}))


def _reaches(start: Node, graph: Graph, forward: bool, through: frozenset[str] = _FOLLOWS) -> bool:
    """Whether the way from `start` leads to a convolution of quantized images."""
    seen, ahead = {start.index}, [start]
    while ahead:
        for node in _neighbours(ahead.pop(), graph, forward):
            if node.op_type == "Conv":
                return True
            if node.index not in seen and _lets_through(node, through):
                seen.add(node.index)
                ahead.append(node)
    return False


def _neighbours(node: Node, graph: Graph, forward: bool) -> list[Node]:
    if forward:
        return [user for name in node.outputs for user in graph.consumers(name)]
    return [found for name in node.inputs if (found := graph.producer(name)) is not None]


def _lets_through(node: Node, through: frozenset[str]) -> bool:
    if is_quantize(node) or is_dequantize(node) or node.op_type in through:
        return True
    keeps_rank = node.op_type.startswith("Reduce") and node.attributes.get("keepdims", 1) == 1
    return keeps_rank and through is _FOLLOWS

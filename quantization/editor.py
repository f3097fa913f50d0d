"""Models whose inputs and outputs are integers themselves.

`ModelEditor` notes on the float model, in its metadata, which types its inputs and outputs get;
`convert_borders` gives them to the quantized model.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from furiosa_ep.quantization.optimize.editing import free_name, names_within, subgraphs
from furiosa_ep.quantization.parameters import Parameters, parameters_of
from furiosa_ep.quantization.ranges import Range, check_ranges

_KEY = "furiosa_ep.borders"
"""In the metadata of a float model."""


class TensorType(IntEnum):
    """What a model takes or gives instead of floats."""

    UINT8 = 1
    INT8 = 2


_DTYPES: Mapping[TensorType, type[np.integer[Any]]] = {
    TensorType.UINT8: np.uint8,
    TensorType.INT8: np.int8,
}


class Border(NamedTuple):
    """What an input or an output becomes."""

    type: TensorType
    range: Range | None
    """The numbers that it holds, where they are not those of the calibration."""


class ModelEditor:
    """Changes the types of a float model's inputs and outputs, which quantization carries out.

    The model is edited in place, stays a float model, and can be calibrated before and afterwards.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model

    def convert_input_type(self, tensor_name: str, tensor_type: TensorType) -> None:
        """Let the quantized model take integers instead of the floats that they stand for.

        Raises:
            ValueError: where the model has no such input of floats, and for another type.
        """
        self._note("input", tensor_name, get_pure_input_names(self._model), tensor_type, None)

    def convert_output_type(
        self,
        tensor_name: str,
        tensor_type: TensorType,
        tensor_range: Sequence[float] | None = None,
    ) -> None:
        """Let the quantized model give integers; `tensor_range` overrides what calibration finds.

        Raises:
            ValueError: where the model has no such output of floats, and for another type or
                something else than a range.
        """
        names = get_output_names(self._model)
        self._note("output", tensor_name, names, tensor_type, tensor_range)

    def _note(
        self,
        what: str,
        name: str,
        known: Sequence[str],
        tensor_type: TensorType,
        tensor_range: Sequence[float] | None,
    ) -> None:
        if name not in known:
            raise ValueError(f"the model has no {what} {name!r}, but {', '.join(known)}")
        if name not in float_borders(self._model):
            raise ValueError(f"the {what} {name!r} has no float32 numbers to convert")
        found = None if tensor_range is None else check_ranges({name: tensor_range})[name]
        noted = json.dumps({**borders(self._model), name: Border(TensorType(tensor_type), found)})
        _set_metadata(self._model, _KEY, noted)


def get_pure_input_names(model: onnx.ModelProto) -> list[str]:
    """The names of the inputs that are no initializers."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in constants]


def get_output_names(model: onnx.ModelProto) -> list[str]:
    """The names of the outputs."""
    return [value.name for value in model.graph.output]


def float_borders(model: onnx.ModelProto) -> list[str]:
    """The inputs and outputs whose types a `ModelEditor` can change."""
    names = [*get_pure_input_names(model), *get_output_names(model)]
    return [n for n in names if _border(model.graph, n).elem_type == onnx.TensorProto.FLOAT]


def borders(model: onnx.ModelProto) -> dict[str, Border]:
    """The inputs and outputs whose types a `ModelEditor` has changed, by name."""
    noted = next((entry.value for entry in model.metadata_props if entry.key == _KEY), "{}")
    return {
        name: Border(TensorType(kind), None if found is None else Range(*found))
        for name, (kind, found) in json.loads(noted).items()
    }


def convert_borders(
    model: onnx.ModelProto, noted: Mapping[str, Border], ranges: Mapping[str, Range]
) -> None:
    """Give inputs and outputs of a QDQ model these types.

    What quantizes an input or dequantizes an output anyway is taken away or, where it leads to the
    other type of integers, becomes a conversion between the two.
    """
    inputs = {value.name for value in model.graph.input}
    for name, border in noted.items():
        convert = _convert_input if name in inputs else _convert_output
        convert(model.graph, name, border, ranges[name])
        _border(model.graph, name).elem_type = helper.np_dtype_to_tensor_dtype(
            np.dtype(_DTYPES[border.type])
        )
    _set_metadata(model, _KEY, None)


def _convert_input(graph: onnx.GraphProto, name: str, border: Border, found: Range) -> None:
    floats = _free(graph, f"{name}/float")
    _rename(graph, name, floats)
    quantizers = [node for node in _readers(graph, floats) if node.op_type == "QuantizeLinear"]
    parameters = _typed(_parameters(graph, quantizers[0]), border) if quantizers else None
    parameters = parameters or parameters_of(found, _DTYPES[border.type])
    for node in quantizers:
        if _equal(parameters, _parameters(graph, node)):
            _rename(graph, node.output[0], name)
            graph.node.remove(node)
    if any(_readers(graph, floats)):
        graph.node.insert(0, _node(graph, "DequantizeLinear", name, floats, parameters))


def _convert_output(graph: onnx.GraphProto, name: str, border: Border, found: Range) -> None:
    floats = _free(graph, f"{name}/float")
    _rename(graph, name, floats)
    (producer,) = (node for node in graph.node if floats in node.output)
    dequantized = producer.op_type == "DequantizeLinear"
    if dequantized and border.range is None:
        parameters = _typed(_parameters(graph, producer), border)
    else:
        parameters = parameters_of(found, _DTYPES[border.type])
    computed = any(producer.input[0] in node.output for node in graph.node)
    if dequantized and computed and _equal(parameters, _parameters(graph, producer)):
        _rename(graph, producer.input[0], name)
        if not any(_readers(graph, floats)):
            graph.node.remove(producer)
    else:
        graph.node.append(_node(graph, "QuantizeLinear", floats, name, parameters))


def _typed(found: Parameters, border: Border) -> Parameters:
    """Those of the same numbers as integers of the border's type."""
    dtype = _DTYPES[border.type]
    shift = int(np.iinfo(dtype).min) - int(np.iinfo(found.zero_point.dtype).min)
    return found._replace(zero_point=np.asarray(int(found.zero_point) + shift, dtype))


def _equal(left: Parameters, right: Parameters) -> bool:
    return left == right and left.zero_point.dtype == right.zero_point.dtype


def _parameters(graph: onnx.GraphProto, node: onnx.NodeProto) -> Parameters:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return Parameters(*(numpy_helper.to_array(constants[name]) for name in node.input[1:3]))


def _node(
    graph: onnx.GraphProto, op_type: str, source: str, target: str, parameters: Parameters
) -> onnx.NodeProto:
    names = [_free(graph, f"{target}/{field}") for field in parameters._fields]
    for name, value in zip(names, parameters, strict=True):
        graph.initializer.append(numpy_helper.from_array(value, name))
    return helper.make_node(op_type, [source, *names], [target], f"{target}/{op_type}")


def _free(graph: onnx.GraphProto, name: str) -> str:
    """The name, or the like where there is a value of that name."""
    used = {value.name for value in (*graph.input, *graph.initializer)}
    used |= {output for node in graph.node for output in node.output}
    return free_name(name, used)


def _readers(graph: onnx.GraphProto, name: str) -> Iterator[onnx.NodeProto]:
    """The nodes that read a value, those with subgraphs that do among them."""
    return (node for node in graph.node if name in node.input or name in names_within(node))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a value another name wherever nodes write or read it, in subgraphs as well."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for subgraph in subgraphs(node):
            _rename(subgraph, old, new)
    kept = [value for value in graph.value_info if value.name != old]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _border(graph: onnx.GraphProto, name: str) -> onnx.TypeProto.Tensor:
    """The type of an input or output."""
    values = {value.name: value for value in (*graph.input, *graph.output)}
    found: onnx.TypeProto.Tensor = values[name].type.tensor_type
    return found


def _set_metadata(model: onnx.ModelProto, key: str, value: str | None) -> None:
    """Add or replace an entry of the metadata; None takes it away."""
    others = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    if value is not None:
        model.metadata_props.add(key=key, value=value)

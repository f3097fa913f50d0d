"""Runs of both models with their values as outputs, and of each layer alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from furiosa_ep.quantization.diagnosis.sites import Floats, Site
from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import add_outputs
from furiosa_ep.quantization.prepare import QDQ
from furiosa_ep.quantization.samples import Array, Feed

GIVEN = "/furiosa/given"
"""Behind the name of a value: what stands for it."""
CHOSEN = "/furiosa/chosen"
HELD = "/furiosa/held"


class ObservedModel:
    """A model that gives some of its values."""

    def __init__(self, model: onnx.ModelProto, values: Sequence[str], what: str) -> None:
        self._what = what
        observed = copied(model)
        inputs = {value.name for value in observed.graph.input}
        self._names = [name for name in dict.fromkeys(values) if name not in inputs]
        add_outputs(observed.graph, self._names)
        self._session = session_of(observed, what)

    def run(self, feed: Feed, number: int) -> dict[str, Array]:
        """The values in a sample, inputs among them.

        Raises:
            QuantizationError: where the model does not take the sample.
        """
        found = run(self._session, self._names, feed, self._what, number)
        return {**feed, **dict(zip(self._names, found, strict=True))}


def session_of(model: onnx.ModelProto, what: str) -> ort.InferenceSession:
    """A session on the CPU.

    Raises:
        QuantizationError: where ONNX Runtime does not take the model.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise QuantizationError(f"ONNX Runtime does not take {what}: {error}") from error


def run(
    session: ort.InferenceSession, names: Sequence[str], feed: Feed, what: str, number: int
) -> list[Any]:
    """These outputs of a session; none where none are asked for."""
    try:
        outputs: list[Any] = session.run(names, feed) if names else []
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise QuantizationError(f"{what} does not take sample {number}: {error}") from error
    return outputs


def without_rounding(model: onnx.ModelProto, sites: Iterable[Site]) -> onnx.ModelProto:
    """The quantized model with activations that are limited to their ranges, but not rounded.

    `HELD` behind the name of a site's integers is the name of what it holds.
    """
    found = copied(model)
    graph = found.graph
    by_integers = {site.integers: site for site in sites}
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:], graph.output[:]
    for node in nodes:
        site = by_integers.get(node.output[0])
        if node.op_type == "QuantizeLinear" and site is not None:
            graph.node.extend(_limited(graph, site))
        site = by_integers.get(node.input[0]) if node.input else None
        if node.op_type == "DequantizeLinear" and site is not None and site.value:
            held = helper.make_node("Identity", [site.integers + HELD], [node.output[0]])
            graph.node.append(held)
        else:  # what quantizes stays for integers that something else reads
            graph.node.append(node)
    return found


def _limited(graph: onnx.GraphProto, site: Site) -> Iterator[onnx.NodeProto]:
    held = site.integers + HELD
    for name, number in ((f"{held}/low", site.low), (f"{held}/high", site.high)):
        graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), name))
    yield helper.make_node("Max", [site.value, f"{held}/low"], [f"{held}/raised"])
    yield helper.make_node("Min", [f"{held}/raised", f"{held}/high"], [held])


class LayersAlone:
    """The layers of a quantized model, each of which reads what the float model computes.

    A layer is what lies between 8-bit values: its weights and biases are quantized, what it reads
    is not.
    """

    def __init__(self, model: onnx.ModelProto, sites: Iterable[Site]) -> None:
        cut = copied(model)
        del cut.graph.output[:]
        replaced: dict[str, str] = {}
        self._names = {}
        inputs = {value.name for value in cut.graph.input}
        for site in sites:
            given = site.integers + GIVEN
            cut.graph.input.append(onnx.ValueInfoProto(name=given))
            cut.graph.input[-1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            replaced.update(dict.fromkeys((site.value, *site.results), given))
            if site.node is not None and site.value not in inputs:
                self._names[site.integers] = site.value
        replaced.pop("", None)
        for node in cut.graph.node:
            if node.op_type not in QDQ:
                node.input[:] = [replaced.get(name, name) for name in node.input]
        computed = {name for node in cut.graph.node for name in node.output}
        self._names = {key: name for key, name in self._names.items() if name in computed}
        cut.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in dict.fromkeys(self._names.values())
        )
        del cut.graph.value_info[:]
        self._session = session_of(cut, "the quantized model cut into layers")
        self._inputs = {value.name for value in self._session.get_inputs()}

    def run(self, feed: Feed, given: Mapping[str, Array], number: int) -> dict[str, Floats]:
        """What the layers compute, before it is quantized, by the sites' integers.

        `given` has what the float model computes, by the same.
        """
        everything = {**feed, **{name + GIVEN: array for name, array in given.items()}}
        taken = {name: array for name, array in everything.items() if name in self._inputs}
        names = list(dict.fromkeys(self._names.values()))
        found = run(self._session, names, taken, "the quantized model cut into layers", number)
        by_name = dict(zip(names, found, strict=True))
        return {key: by_name[name] for key, name in self._names.items()}


class OneReplaced:
    """A float model in which one value at a time is replaced, to see what its outputs make of it.

    `values` are not constants, and may be inputs.
    """

    def __init__(self, model: onnx.ModelProto, values: Sequence[str]) -> None:
        switched = copied(model)
        self._values = list(dict.fromkeys(values))
        graph, wanted = switched.graph, set(self._values)
        nodes = list(graph.node)
        del graph.node[:]
        for value in graph.input:
            if value.name in wanted:
                _add_switch(graph, value.name)
        for node in nodes:
            node.input[:] = [name + CHOSEN if name in wanted else name for name in node.input]
            graph.node.append(node)
            for name in node.output:
                if name in wanted:
                    _add_switch(graph, name)
        self._outputs = [value.name for value in graph.output]
        del graph.output[:]
        self._renamed = [n + CHOSEN if n in wanted else n for n in self._outputs]
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._renamed)
        self._session = session_of(switched, "the float model")

    def run(
        self, feed: Feed, values: Mapping[str, Array], name: str, instead: Array, number: int
    ) -> dict[str, Array]:
        """The outputs where `instead` stands for a value; `values` are those of the sample."""
        everything = dict(feed)
        for value in self._values:
            everything[value + GIVEN] = instead if value == name else values[value]
            everything[value + GIVEN + "/on"] = np.array(value == name)
        found = run(self._session, self._renamed, everything, "the float model", number)
        return dict(zip(self._outputs, found, strict=True))


def _add_switch(graph: onnx.GraphProto, name: str) -> None:
    given = name + GIVEN
    for added, kind in ((given, onnx.TensorProto.FLOAT), (given + "/on", onnx.TensorProto.BOOL)):
        graph.input.append(onnx.ValueInfoProto(name=added))
        graph.input[-1].type.tensor_type.elem_type = kind
    graph.input[-1].type.tensor_type.shape.SetInParent()
    graph.node.append(helper.make_node("Where", [given + "/on", given, name], [name + CHOSEN]))

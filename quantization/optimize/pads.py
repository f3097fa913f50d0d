"""Pad: what is negative is a Slice, and zeros around an image are those of the Conv behind it."""

import numpy as np
import onnx
from onnx import helper

from furiosa_ep.quantization.optimize.copies import copied
from furiosa_ep.quantization.optimize.editing import EditableGraph, attribute
from furiosa_ep.quantization.samples import Array

TO_THE_END = np.iinfo(np.int64).max


def split_negative_pads(model: onnx.ModelProto) -> onnx.ModelProto:
    """Negative pads become a Slice, in front of a Pad for the others.

    Modes that repeat what is there stay as they are where they do both.
    """
    graph = EditableGraph(model)
    for node in graph.nodes("Pad"):
        own, pads = graph.constant(node.input[1]), _pads(graph, node)
        if own is None or pads is None or pads.min(initial=0) >= 0:
            continue
        positive = pads.max(initial=0) > 0
        if positive and attribute(node, "mode", b"constant") != b"constant":
            continue
        slice_ = _slice(graph, node, pads)
        if positive:
            slice_.output[0] = graph.free_name(f"{node.output[0]}_slice")
            slice_.name = graph.free_name(f"{node.name}_slice") if node.name else ""
            rest: onnx.NodeProto = copied(node)
            rest.input[0] = slice_.output[0]
            rest.input[1] = graph.revise(node.input[1], np.maximum(own, 0))
            graph.replace([node], slice_, rest)
        else:
            graph.replace([node], slice_)
    return graph.model()


def fold_pads(model: onnx.ModelProto) -> onnx.ModelProto:
    """A Pad with zeros joins the Conv that alone reads it, or the AveragePool that counts them."""
    graph = EditableGraph(model)
    for node in graph.nodes("Pad"):
        reader = graph.sole_reader(node.output[0])
        pads = _pads(graph, node)
        if reader is None or pads is None or not _is_zero_constant(graph, node):
            continue
        if pads.min(initial=0) < 0 or pads[:, :2].any() or reader.input[0] != node.output[0]:
            continue
        joined = _joined(reader, pads[:, 2:])
        if joined is not None:
            joined.input[0] = node.input[0]
            graph.replace([node, reader], joined)
    return graph.model()


def _pads(graph: EditableGraph, node: onnx.NodeProto) -> Array | None:
    """Pads before and behind each axis of the input, in two rows; None where they are not known."""
    pads, rank = graph.constant(node.input[1]), graph.rank(node.input[0])
    if pads is None or rank is None:
        return None
    axes = np.arange(rank)
    if len(node.input) > 3 and node.input[3]:
        given = graph.constant(node.input[3])
        if given is None:
            return None
        axes = given.reshape(-1) % rank if rank else given
    full = np.zeros((2, rank), np.int64)
    full[:, axes] = pads.reshape(2, -1)
    return full


def _slice(graph: EditableGraph, node: onnx.NodeProto, pads: Array) -> onnx.NodeProto:
    axes = np.flatnonzero((pads < 0).any(axis=0))
    before, behind = np.minimum(pads[:, axes], 0)
    parts = {
        "starts": -before,
        "ends": np.where(behind < 0, behind, TO_THE_END),
        "axes": axes.astype(np.int64),
    }
    names = [graph.add_constant(one, f"{node.output[0]}_{part}") for part, one in parts.items()]
    return helper.make_node("Slice", [node.input[0], *names], node.output, node.name)


def _is_zero_constant(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    if attribute(node, "mode", b"constant") != b"constant":
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = graph.constant(node.input[2])
    return value is not None and not value.any()


def _joined(reader: onnx.NodeProto, pads: Array) -> onnx.NodeProto | None:
    """A Conv or AveragePool that pads its input by itself."""
    if reader.domain or reader.op_type not in ("Conv", "AveragePool"):
        return None
    if attribute(reader, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None
    own = np.array(attribute(reader, "pads", [0] * pads.size), np.int64)
    if attribute(reader, "auto_pad", b"NOTSET") == b"VALID":
        own[:] = 0
    joined: onnx.NodeProto = copied(reader)
    replaced = {"pads": (own + pads.reshape(-1)).tolist()}
    if reader.op_type == "AveragePool":
        counts = attribute(reader, "count_include_pad", 0)
        if attribute(reader, "ceil_mode", 0) or (own.any() and not counts):
            return None
        replaced["count_include_pad"] = 1
    kept = [one for one in reader.attribute if one.name not in (*replaced, "auto_pad")]
    del joined.attribute[:]
    joined.attribute.extend(kept)
    joined.attribute.extend(helper.make_attribute(key, value) for key, value in replaced.items())
    return joined

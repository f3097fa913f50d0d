"""The rewrites in their order, run until none of them finds anything more."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import onnx

from furiosa_ep.quantization.errors import QuantizationError
from furiosa_ep.quantization.loading import ModelLike, load_model
from furiosa_ep.quantization.optimize.batch_normalization import fold_batch_normalization
from furiosa_ep.quantization.optimize.casts import join_casts
from furiosa_ep.quantization.optimize.channel_arithmetic import fold_channel_arithmetic
from furiosa_ep.quantization.optimize.clips import join_clips
from furiosa_ep.quantization.optimize.constants import fold_constants
from furiosa_ep.quantization.optimize.equality import Reference, reference
from furiosa_ep.quantization.optimize.gemm import make_gemm, simplify_gemm
from furiosa_ep.quantization.optimize.no_ops import remove_no_ops
from furiosa_ep.quantization.optimize.opset import convert_opset, opset_of
from furiosa_ep.quantization.optimize.pads import fold_pads, split_negative_pads
from furiosa_ep.quantization.optimize.prelu import simplify_prelu
from furiosa_ep.quantization.optimize.reshapes import fix_reshapes
from furiosa_ep.quantization.optimize.shapes import infer_shapes
from furiosa_ep.quantization.optimize.softmax import unflatten_softmax
from furiosa_ep.quantization.optimize.standard_form import (
    expand_functions,
    lift_constants,
    to_standard_form,
)
from furiosa_ep.quantization.optimize.unused import remove_unused

Rewrite: TypeAlias = Callable[[onnx.ModelProto], onnx.ModelProto]
"""Gives a model that computes the same: the very model that it was given where it finds nothing.

It takes a model in standard form (`to_standard_form`, `convert_opset`) whose `value_info` is true
(`infer_shapes`), and gives such a one."""

REWRITES: Sequence[Rewrite] = (
    remove_unused,
    unflatten_softmax,
    fold_constants,
    remove_no_ops,
    join_casts,
    fix_reshapes,
    split_negative_pads,
    fold_pads,
    simplify_prelu,
    join_clips,
    make_gemm,
    simplify_gemm,
    fold_batch_normalization,
    fold_channel_arithmetic,
)
"""All rewrites; `optimize` runs them in this order."""

MAX_ROUNDS = 16
"""A bound on the rounds, of which models need two or three."""

_log = logging.getLogger(__name__)


def optimize(model: ModelLike, *, check: bool = True) -> onnx.ModelProto:
    """Return the model as a simpler graph that computes the same, for the quantizer.

    The result has operators of opset 13 to 23, the shapes of its values where they follow from
    those of its inputs, and none of its initializers among the inputs. Inputs, outputs, the names
    of values that stay, and metadata are those of `model`, which is a path, bytes or a ModelProto
    and is left as it is. Subgraphs stay as they are.

    `check` compares the outputs with those of `model` on random inputs, with the lengths of open
    dims chosen small. A rewrite that changes them is left out, and a warning is logged that names
    it. A model that takes no such inputs is not checked, which is logged too.

    Raises:
        QuantizationError: for a model that cannot be read, is not valid, or has an opset that
            cannot be converted; with `check` for one that ONNX Runtime does not take.
    """
    proto = load_model(model)
    to_standard_form(proto)
    expected = reference(proto) if check else None
    if check and expected is None:
        _log.warning("the optimised model is not checked: no random inputs fit the model")
    opset = opset_of(proto)
    base = convert_opset(expand_functions(proto))
    lift_constants(base.graph)
    del proto
    optimized = rewritten(base, REWRITES)
    if expected is not None and expected.difference(optimized) is not None:
        difference = expected.difference(base)
        if difference is not None:
            raise QuantizationError(
                f"the conversion from opset {opset} to {opset_of(base)} changes the model: "
                f"{difference}; export it again with opset {opset_of(base)}"
            )
        optimized = rewritten(base, REWRITES, expected)
    return optimized


def rewritten(
    model: onnx.ModelProto, rewrites: Sequence[Rewrite], expected: Reference | None = None
) -> onnx.ModelProto:
    """The model after rewrites, again and again until none of them finds anything more.

    With a reference, those that change the model are left out. The shapes of values are written
    into the model that is given.
    """
    left = list(rewrites)
    for _ in range(MAX_ROUNDS):
        infer_shapes(model)
        before = model
        for rewrite in tuple(left):
            after = rewrite(model)
            if after is model:
                continue
            difference = None if expected is None else expected.difference(after)
            name = rewrite.__name__
            if difference is None:
                _log.debug(
                    "%s: %d nodes, then %d", name, len(model.graph.node), len(after.graph.node)
                )
                model = after
            else:
                _log.warning("%s changes the model and is left out: %s", name, difference)
                left.remove(rewrite)
        if model is before:
            break
    return model

"""How the 8-bit values of a quantized model follow from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from furiosa_ep.quantization.diagnosis.sites import Site, constants_of
from furiosa_ep.quantization.optimize.editing import attribute
from furiosa_ep.quantization.scheme import MOVEMENT

_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Constants:
    """The quantized constants of a layer."""

    per_channel: bool | None
    """Whether weights have a scale for each channel; None for a layer without 8-bit constants."""
    full_biases: int
    """How many biases are as large as int32 can be."""


class Structure:
    """The graph of the sites of a quantized model."""

    def __init__(self, model: onnx.ModelProto, sites: Sequence[Site]) -> None:
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._constants = constants_of(model.graph)
        self._sites = {site.integers: site for site in sites}
        self._sources = {site.integers: self._read_by(site) for site in sites}
        self.moved = {site.integers for site in sites if self._is_moved(site)}
        """The sites that hold what others hold already."""

    def upstream(self, integers: str) -> list[str]:
        """The sites that a site is computed from, directly or not."""
        found: dict[str, None] = {}
        waiting = list(self._sources[integers])
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting += self._sources[name]
        return list(found)

    def constants(self, site: Site) -> Constants:
        """Those that the operator of a site reads."""
        per_channel: bool | None = None
        full = 0
        for name in site.node.input if site.node is not None else ():
            node = self._producers.get(name)
            if node is None or node.op_type != "DequantizeLinear":
                continue
            tensor, scale = (self._constants.get(one) for one in node.input[:2])
            if tensor is None or scale is None:
                continue
            if tensor.data_type == onnx.TensorProto.INT32:
                biases = numpy_helper.to_array(tensor)
                full += int(np.count_nonzero((biases == _INT32.max) | (biases == _INT32.min)))
            else:
                per_channel = len(scale.dims) > 0 and scale.dims[0] > 1
        return Constants(per_channel, full)

    def _read_by(self, site: Site) -> list[str]:
        """The sites next to a site, before it."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [site.value]
        while waiting:
            name = waiting.pop()
            node = self._producers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            for read in node.input:
                if read in self._sites:
                    found[read] = None
                else:
                    waiting.append(read)
        return list(found)

    def _is_moved(self, site: Site) -> bool:
        if site.node is None or not _moves(site.node):
            return False
        sources = [self._sites[name] for name in self._sources[site.integers]]
        return bool(sources) and all(
            (one.scale, one.zero_point, one.lowest) == (site.scale, site.zero_point, site.lowest)
            for one in sources
        )


def _moves(node: onnx.NodeProto) -> bool:
    """Whether results are numbers that the operator reads: nothing is lost of these as integers."""
    if node.op_type in ("Resize", "Upsample"):
        return bool(attribute(node, "mode", b"nearest") == b"nearest")
    return node.op_type in MOVEMENT or node.op_type == "DequantizeLinear"

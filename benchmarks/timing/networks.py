"""The networks of the published figures, as models and as Programs."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import onnx
from onnx.utils import Extractor

from benchmarks.models import Topology
from benchmarks.models.mobilenet import mobilenet_v1
from benchmarks.models.resnet import resnet50
from benchmarks.models.ssd import ssd_mobilenet_v1
from benchmarks.models.ssd_resnet34 import ssd_resnet34
from benchmarks.models.yolov5 import yolov5l, yolov5n, yolov5s
from benchmarks.models.yolov7 import yolov7
from benchmarks.models.yolov8 import yolov8n
from benchmarks.models.yolox import yolox_l
from furiosa_ep.estimation.placement import place
from furiosa_ep.estimation.reading import read_light
from furiosa_ep.program import Program

BUILT: Mapping[str, Topology] = MappingProxyType(
    {
        "mobilenet_v1": mobilenet_v1,
        "resnet50": resnet50,
        "ssd_mobilenet_v1": ssd_mobilenet_v1,
        "ssd_resnet34": ssd_resnet34,
        "yolov5n": yolov5n,
        "yolov5s": yolov5s,
        "yolov5l": yolov5l,
        "yolov7": yolov7,
        "yolov8n": yolov8n,
        "yolox_l": yolox_l,
    }
)
"""What is built here; the others are files that the package ultralytics has exported."""
EXPORTED: Mapping[str, str] = MappingProxyType(
    {
        "yolov5nu": "yolov5n",
        "yolov5mu": "yolov5m",
        **{name: name for name in ("yolov8n", "yolov8m", "yolov8x", "yolov9t", "yolov9m")},
    }
)
"""The name that its configuration has, such as in
`yolo export model=yolov8m.yaml format=onnx imgsz=640 opset=13`."""


class Networks:
    """Models and Programs by network and batch, each compiled once."""

    def __init__(self, exports: Path | None = None, *, decoding: bool = False) -> None:
        """Know the folder of exported files.

        Args:
            exports: the folder; without one, only what is built here is known.
            decoding: whether detectors keep what decodes boxes in their Programs.
        """
        self._exports, self._decoding = exports, decoding
        self.program: Callable[[str, int], Program] = cache(self._program)

    def __contains__(self, network: str) -> bool:
        return network in BUILT or self._file(network) is not None

    def model(self, network: str, batch: int = 1, *, decoding: bool = True) -> onnx.ModelProto:
        """The float model without its weights.

        `decoding` says whether detectors of the YOLO family keep what decodes boxes behind their
        last convolutions, which those that were measured did not have.
        """
        path = self._file(network)
        light = read_light(BUILT[network](batch=batch) if path is None else path)
        return light if decoding or not network.startswith("yolov") else without_decoding(light)

    def _file(self, network: str) -> Path | None:
        if self._exports is None or network not in EXPORTED:
            return None
        path = self._exports / f"{EXPORTED[network]}.onnx"
        return path if path.exists() else None

    def _program(self, network: str, batch: int) -> Program:
        model = self.model(network, batch, decoding=self._decoding)
        (program,) = place(model, None, {}, {}).programs
        return program


def without_decoding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model up to the last convolutions but for those of one filter, which decode boxes."""
    filters = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}

    def is_layer(node: onnx.NodeProto) -> bool:
        return node.op_type == "Conv" and filters.get(node.input[1], 0) > 1

    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    before: set[str] = set()
    for node in reversed(model.graph.node):
        behind: Iterator[onnx.NodeProto] = (
            user for name in node.output for user in users.get(name, [])
        )
        if any(is_layer(user) or not before.isdisjoint(user.output) for user in behind):
            before.update(node.output)
    ends = [
        node.output[0]
        for node in model.graph.node
        if is_layer(node) and before.isdisjoint(node.output)
    ]
    inputs = [value.name for value in model.graph.input]
    return Extractor(onnx.shape_inference.infer_shapes(model)).extract_model(inputs, ends)

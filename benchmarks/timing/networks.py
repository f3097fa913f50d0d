"""The networks of the published figures as Programs."""

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
from benchmarks.timing.figures import Figure
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
    """Programs by network and batch, each compiled once."""

    def __init__(self, exports: Path | None = None, *, decoding: bool = False) -> None:
        """Know the folder of exported files.

        Args:
            exports: the folder; without one, only what is built here is known.
            decoding: whether detectors keep what decodes boxes behind their last convolutions,
                which those that were measured did not have.
        """
        self._exports, self._decoding = exports, decoding
        self.program: Callable[[str, int], Program] = cache(self._program)

    def __contains__(self, figure: Figure) -> bool:
        return figure.network in BUILT or self._file(figure.network) is not None

    def _file(self, network: str) -> Path | None:
        if self._exports is None or network not in EXPORTED:
            return None
        path = self._exports / f"{EXPORTED[network]}.onnx"
        return path if path.exists() else None

    def _program(self, network: str, batch: int) -> Program:
        path = self._file(network)
        model = BUILT[network](batch=batch) if path is None else read_light(path)
        if network.startswith("yolo") and not self._decoding:
            model = without_decoding(read_light(model))
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

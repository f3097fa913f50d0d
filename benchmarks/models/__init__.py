"""The network topologies that inference is measured on, with random weights.

Speed does not depend on the values of weights, and the real weights are not ours to ship. Every
function returns a float model of batch 1 with BatchNormalization already folded; `furiosa_ep`'s
quantizer makes the 8-bit ones from it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx

from benchmarks.models.mobilenet import mobilenet_v2
from benchmarks.models.resnet import resnet50
from benchmarks.models.yolo import yolov8n

TOPOLOGIES: Mapping[str, Callable[[], onnx.ModelProto]] = MappingProxyType(
    {"resnet50": resnet50, "mobilenet_v2": mobilenet_v2, "yolov8n": yolov8n}
)

__all__ = ["TOPOLOGIES", "mobilenet_v2", "resnet50", "yolov8n"]

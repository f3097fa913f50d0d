"""The networks that inference is measured on, as float models at their real topologies.

Speed does not depend on the values of weights, and most real weights are not ours to ship: those
built here are random, with BatchNormalization already folded. `furiosa_ep`'s quantizer makes the
8-bit models from them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import onnx

from benchmarks.models.efficientnet import efficientnet_b0, efficientnet_lite0
from benchmarks.models.macs import macs
from benchmarks.models.mobilenet import mobilenet_v2
from benchmarks.models.ocr import ppocr_cls, ppocr_det
from benchmarks.models.resnet import resnet50
from benchmarks.models.ssd import ssd_mobilenet_v1
from benchmarks.models.yolov5 import yolov5s
from benchmarks.models.yolov8 import yolov8n


class Topology(Protocol):
    """Makes the float model of a network with one image input of static shape."""

    def __call__(self, batch: int = 1) -> onnx.ModelProto:
        """The model for so many images a run."""


TOPOLOGIES: Mapping[str, Topology] = MappingProxyType(
    {
        "resnet50": resnet50,
        "mobilenet_v2": mobilenet_v2,
        "efficientnet_lite0": efficientnet_lite0,
        "efficientnet_b0": efficientnet_b0,
        "ssd_mobilenet_v1": ssd_mobilenet_v1,
        "yolov5s": yolov5s,
        "yolov8n": yolov8n,
        "ppocr_det": ppocr_det,
        "ppocr_cls": ppocr_cls,
    }
)
"""By the name that reports use. Those of `ocr` need the package that brings them."""

__all__ = ["TOPOLOGIES", "Topology", "macs"]

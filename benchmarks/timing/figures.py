"""The published figures: what was measured on a Warboy, of which network, on how many PEs."""

import enum
from dataclasses import dataclass

MLPERF = "MLPerf Inference 2.0, closed edge"
YOLO = "warboy-vision-models"
PROFILE = "Furiosa SDK, profiler"


class Measured(enum.Enum):
    """What lies between the two moments that were taken."""

    RUN = "run"
    """The NPU's own time: of the device's profiler, or of runs between which others transfer."""
    TASK = "task"
    """With inputs and outputs over PCI Express."""
    QUERY = "query"
    """As the load generator of MLPerf sees it: a task, and the host's software."""


@dataclass(frozen=True)
class Figure:
    """One published time of one run."""

    network: str
    pes: int
    milliseconds: float
    measured: Measured
    source: str
    fitted: bool = False
    """Whether the parameters are fitted to it; otherwise it validates them."""
    batch: int = 1

    @property
    def family(self) -> str:
        """The networks that are alike."""
        return _FAMILIES.get(self.network, self.network)


_FAMILIES = {
    **dict.fromkeys(("mobilenet_v1", "ssd_mobilenet_v1"), "MobileNet"),
    **dict.fromkeys(("resnet50", "ssd_resnet34"), "ResNet"),
    **dict.fromkeys(("yolov5n", "yolov5s", "yolov5l"), "YOLOv5"),
    **dict.fromkeys(("yolov5nu", "yolov5mu"), "YOLOv5u"),
    **dict.fromkeys(("yolov8n", "yolov8m", "yolov8x"), "YOLOv8"),
    **dict.fromkeys(("yolov9t", "yolov9m"), "YOLOv9"),
}


def _offline(network: str, devices: int, pes: int, batch: int, per_second: float) -> Figure:
    """Of `devices` that work all the time, each on a batch: transfers go beside that."""
    milliseconds = 1e3 * devices * batch / per_second
    fitted = network == "ssd_mobilenet_v1"
    return Figure(network, pes, milliseconds, Measured.RUN, MLPERF, fitted, batch)


def _yolo(network: str, fused: float, single: float | None, fitted: bool = False) -> list[Figure]:
    times = [(2, fused), *([] if single is None else [(1, single)])]
    return [Figure(network, pes, ms, Measured.TASK, YOLO, fitted) for pes, ms in times]


FIGURES = (
    Figure("mobilenet_v1", 2, 0.1081, Measured.RUN, PROFILE, True),
    Figure("resnet50", 2, 0.712, Measured.QUERY, MLPERF, True),
    _offline("resnet50", 2, 1, 8, 2758.44),
    Figure("ssd_mobilenet_v1", 2, 0.364, Measured.QUERY, MLPERF),
    _offline("ssd_mobilenet_v1", 2, 1, 8, 8762.15),
    Figure("ssd_resnet34", 2, 13.432, Measured.QUERY, MLPERF),
    _offline("ssd_resnet34", 1, 2, 1, 79.92),
    *_yolo("yolov5n", 1.09, 1.26, True),
    *_yolo("yolov5s", 1.93, 2.45),
    *_yolo("yolov5l", 7.70, 10.33, True),
    *_yolo("yolov5nu", 1.15, 1.34),
    *_yolo("yolov5mu", 4.77, 6.49),
    *_yolo("yolov7", 8.76, None),
    *_yolo("yolov8n", 1.51, 1.89, True),
    *_yolo("yolov8m", 8.22, 11.67, True),
    *_yolo("yolov8x", 26.81, None),
    *_yolo("yolov9t", 2.13, 2.60),
    *_yolo("yolov9m", 9.21, 12.59),
)
"""Single-stream figures of MLPerf are the 90th percentiles."""

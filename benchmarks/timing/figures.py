"""The published figures: what was measured on a Warboy, of which network, on how many PEs."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

MLPERF = "MLPerf Inference 2.0, closed edge"
YOLO = "warboy-vision-models"
PROFILE = "Furiosa SDK, profiler"
MODELS = "furiosa-models"
NOTEBOOK = "Furiosa SDK, notebook"


class Measured(enum.Enum):
    """What lies between the two moments that were taken."""

    RUN = "run"
    """The NPU's own time: of the device's profiler, or of runs between which others transfer."""
    TASK = "task"
    """With inputs and outputs over PCI Express."""
    QUERY = "query"
    """As the load generator of MLPerf sees it: a task, and the host's software."""
    LATENCY = "latency"
    """As an application sees a whole inference: with all that the host does."""


@dataclass(frozen=True)
class Figure:
    """One published time of one run."""

    network: str
    pes: int
    milliseconds: float
    measured: Measured
    source: str
    fitted: bool = False
    """Whether the parameters are fitted to it, for a latency those of the host; otherwise it
    validates them."""
    batch: int = 1
    float_inputs: bool = False
    """Whether the host quantizes the inputs, in a latency; otherwise they are bytes."""
    note: str = ""
    """What speaks against the figure, or makes it another case than is estimated."""

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


def _yolo(
    network: str,
    fused: tuple[float, float],
    single: tuple[float, float] | None,
    fitted: bool = False,
) -> Iterator[Figure]:
    """Both numbers for each target; the rates of the host are fitted to all of the second ones."""
    for pes, times in ((2, fused), (1, single)):
        if times is not None:
            yield Figure(network, pes, times[0], Measured.TASK, YOLO, fitted)
            yield Figure(network, pes, times[1], Measured.LATENCY, YOLO, True)


_ALL = (
    Figure("mobilenet_v1", 2, 0.1081, Measured.RUN, PROFILE, True),
    Figure("resnet50", 2, 0.712, Measured.QUERY, MLPERF, True),
    _offline("resnet50", 2, 1, 8, 2758.44),
    Figure("ssd_mobilenet_v1", 2, 0.364, Measured.QUERY, MLPERF),
    _offline("ssd_mobilenet_v1", 2, 1, 8, 8762.15),
    Figure("ssd_resnet34", 2, 13.432, Measured.QUERY, MLPERF),
    _offline("ssd_resnet34", 1, 2, 1, 79.92),
    *_yolo("yolov5n", (1.09, 8.00), (1.26, 8.83), True),
    *_yolo("yolov5s", (1.93, 8.56), (2.45, 8.92)),
    *_yolo("yolov5l", (7.70, 14.44), (10.33, 16.15), True),
    *_yolo("yolov5nu", (1.15, 3.83), (1.34, 4.44)),
    *_yolo("yolov5mu", (4.77, 6.42), (6.49, 8.08)),
    *_yolo("yolov7", (8.76, 14.22), None),
    *_yolo("yolov8n", (1.51, 4.10), (1.89, 4.86), True),
    *_yolo("yolov8m", (8.22, 10.03), (11.67, 13.23), True),
    *_yolo("yolov8x", (26.81, 28.41), None),
    *_yolo("yolov9t", (2.13, 4.60), (2.60, 4.94)),
    *_yolo("yolov9m", (9.21, 10.61), (12.59, 14.28)),
    Figure("resnet50", 2, 1.264, Measured.LATENCY, MODELS, True),
    Figure("resnet50", 2, 2.715, Measured.LATENCY, MODELS, note="the same as that of 1.264 ms"),
    Figure("resnet50", 2, 5.456, Measured.LATENCY, MODELS, True, float_inputs=True),
    Figure(
        "resnet50",
        2,
        12.02,
        Measured.LATENCY,
        NOTEBOOK,
        float_inputs=True,
        note="the same as that of 5.456 ms, in a session of an older kind",
    ),
    Figure(
        "yolox_l",
        2,
        14.69,
        Measured.LATENCY,
        NOTEBOOK,
        note="an early chip (A0), and an image whose channels come last",
    ),
)
FIGURES = tuple(one for one in _ALL if one.measured is not Measured.LATENCY)
"""Of the NPU's time. Single-stream figures of MLPerf are the 90th percentiles."""
LATENCIES = tuple(one for one in _ALL if one.measured is Measured.LATENCY)
"""Of whole inferences."""


@dataclass(frozen=True)
class MultiStream:
    """What 8 samples took that came together, in milliseconds, on two PEs.

    MLPerf says neither in what batches they ran nor whether the PEs were fused.
    """

    network: str
    mean: float
    percentile: float
    """The 99th."""


MULTI_STREAM = (
    MultiStream("resnet50", 3.911, 3.970),
    MultiStream("ssd_mobilenet_v1", 1.901, 2.050),
)

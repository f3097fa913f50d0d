"""Make 8-bit models of RapidOCR's three networks, calibrated on what they see while it reads."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import rapidocr_onnxruntime
from PIL import Image
from rapidocr_onnxruntime import RapidOCR

from furiosa_ep.quantization import quantize_model

FLOAT_MODELS = {
    "det": "ch_PP-OCRv4_det_infer.onnx",
    "cls": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "rec": "ch_PP-OCRv4_rec_infer.onnx",
}
"""Where text is, whether it stands on its head, and what it says."""

Arrays = list[npt.NDArray[np.float32]]


def make_models(folder: Path, pages: Iterable[Image.Image]) -> dict[str, int]:
    """Write det.onnx, cls.onnx and rec.onnx into `folder`; tell how many samples each has seen."""
    seen = _inputs_while_reading(pages)
    source = Path(rapidocr_onnxruntime.__file__).parent / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in FLOAT_MODELS.items():
        onnx.save(quantize_model(source / name, seen[part]), folder / f"{part}.onnx")
    return {part: len(samples) for part, samples in seen.items()}


def _inputs_while_reading(pages: Iterable[Image.Image]) -> dict[str, Arrays]:
    engine = RapidOCR()
    sessions = {
        "det": engine.text_det.infer.session,
        "cls": engine.text_cls.infer.session,
        "rec": engine.text_rec.session.session,
    }
    seen: dict[str, Arrays] = {part: [] for part in sessions}
    for part, session in sessions.items():
        session.run = _recording(session.run, seen[part])
    for page in pages:
        engine(np.asarray(page)[:, :, ::-1])
    return seen


def _recording(run: Callable[..., Any], seen: Arrays) -> Callable[..., Any]:
    def recorded(outputs: Any, feed: dict[str, npt.NDArray[np.float32]]) -> Any:
        seen.extend(feed.values())
        return run(outputs, feed)

    return recorded

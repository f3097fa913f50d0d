"""The models of the race in every kind that an engine takes, built once and kept in a folder."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnx

import furiosa_ep.quantization
from benchmarks.models import TOPOLOGIES
from furiosa_ep.quantization import PRESETS, quantize_model

KINDS = ("uint8", "int8", "float32")
"""What activations are; a model of float32 stays as it is built."""


def feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs of the model: normally distributed, as normalised photographs are."""
    random = np.random.default_rng(seed)
    return {
        value.name: random.normal(
            size=[dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in model.graph.input
    }


def prepare(name: str, batch: int, kind: str, folder: Path) -> bytes:
    """The model as bytes, from `folder` if it has been built there by the same quantizer."""
    model = TOPOLOGIES[name](batch)
    data: bytes = model.SerializeToString(deterministic=True)
    if kind == "float32":
        return data
    digest = hashlib.sha256(data)
    for source in sorted(Path(furiosa_ep.quantization.__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    path = folder / f"{name}-{batch}-{kind}-{digest.hexdigest()[:16]}.onnx"
    if not path.exists():
        preset = replace(PRESETS["min-max"], activation=cast(Literal["uint8", "int8"], kind))
        quantized = quantize_model(model, [feeds(model)], preset)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(quantized.SerializeToString())
    return path.read_bytes()

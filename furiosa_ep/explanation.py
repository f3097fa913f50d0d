"""Why each node of a model runs where it runs."""

import os
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime as ort

from furiosa_ep.partitioner.partition import collected_reports
from furiosa_ep.partitioner.report import Report
from furiosa_ep.provider.library import EP_NAME
from furiosa_ep.provider.registration import register


def explain(
    model: str | Path | bytes | onnx.ModelProto, options: Mapping[str, str] | None = None
) -> Report:
    """Tell for each node of `model` whether the NPU takes it, and if not, why and how to mend it.

    ONNX Runtime loads the model as for a session, so the nodes are those that it shows to the
    provider: after its basic optimisations, and with local functions inlined. Nothing is compiled.
    `options` are provider options. Of a model with control flow, the outer graph is explained.

    Raises:
        Exception: what ONNX Runtime raises for a model that it does not take.
    """
    with collected_reports(decide_only=True) as reports:
        decide(model, options)
    # Functions before they are inlined come first; a graph of constants does not come at all.
    return reports[-1] if reports else Report((), ())


def decide(
    model: str | Path | bytes | onnx.ModelProto, options: Mapping[str, str] | None = None
) -> None:
    """Let ONNX Runtime load a model and show it to the provider, which decides what it takes.

    For those who collect what it decides (`collected_reports`).

    Raises:
        Exception: what ONNX Runtime raises for a model that it does not take.
    """
    register()
    own = {**(options or {}), "summary": "off"}
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    source = model if isinstance(model, bytes) else os.fspath(model)
    # It would fall back to the CPU otherwise, and print that it does.
    ort.InferenceSession(
        source, providers=[(EP_NAME, own), "CPUExecutionProvider"], enable_fallback=0
    )

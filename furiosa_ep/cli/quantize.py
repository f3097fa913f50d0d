"""Quantize a float model: QDQ out, with what the NPU takes of it.

  furiosa quantize model.onnx --calibration samples -o quantized.onnx

The samples are what the model will see, prepared as it will be: 100 of them are usually enough.
Prints what was quantized, and what stays on the CPU and why.
"""

import argparse
import dataclasses
import json
import shlex
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from furiosa_ep.cli.data import add_data_options, data_of, data_words
from furiosa_ep.partitioner.descriptors import CommandError

if TYPE_CHECKING:
    import onnx

    from furiosa_ep.partitioner.report import Report
    from furiosa_ep.partitioner.support import Decline
    from furiosa_ep.quantization import CalibrationData, Preset

NAME = "quantize"
HELP = "make an 8-bit model of a float model"

TYPES = ("uint8", "int8")
SHOWN = 5
"""So many nodes are named that stay in float for one reason; --json has all."""
RANDOM = "the samples were random: the model runs, but figures of its accuracy mean nothing"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path, help="the float model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--preset", default="default", help="how to quantize (default)")
    parser.add_argument(
        "--calibrator", metavar="NAME", help="finds the ranges of values, instead of the preset's"
    )
    parser.add_argument(
        "--ranges", type=Path, metavar="FILE.json", help="ranges of values, taken as they are"
    )
    parser.add_argument(
        "--save-ranges", type=Path, metavar="FILE.json", help="write the ranges, to be edited"
    )
    parser.add_argument(
        "--keep-float",
        metavar="PATTERN",
        action="append",
        default=[],
        help="leave nodes in float: their name or output, or a pattern of it like 'head/*'",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="SHARE",
        help="leave nodes in float until outputs lose no more than this share of their power",
    )
    for border, example in (("input", "image"), ("output", "scores")):
        parser.add_argument(
            f"--{border}-type",
            metavar="NAME=TYPE",
            action="append",
            default=[],
            type=_typed,
            help=f"let an {border} be integers, like {example}=uint8",
        )
    parser.add_argument("--json", action="store_true", help="print JSON (docs/cli.md)")
    add_data_options(parser, "--calibration")


def execute(arguments: argparse.Namespace) -> int:
    """Quantize, write, and print what was done."""
    from furiosa_ep.quantization import QuantizationError

    if not arguments.model.is_file():
        raise CommandError(f"no model file {arguments.model}")
    if arguments.data is None and arguments.random is None and arguments.ranges is None:
        raise CommandError("nothing to calibrate with: give --calibration, --ranges or --random")
    try:
        found = _quantize(arguments)
    except (QuantizationError, OSError) as error:
        raise CommandError(f"{arguments.model}: {error}") from error
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    words = data_words(arguments, "--data")
    diagnose = ["furiosa", "diagnose", found["model"], found["output"], *words]
    print("\n".join(_lines(found)))
    if words and not found["random"]:
        print(f"           {shlex.join(diagnose)}")
    return 0


def _typed(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    if not name or kind not in TYPES:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=uint8 or NAME=int8")
    return name, kind


def _quantize(arguments: argparse.Namespace) -> dict[str, Any]:
    import onnx

    from furiosa_ep.quantization import calibrate, load_ranges, quantize_model, save_ranges
    from furiosa_ep.quantization.loading import load_model
    from furiosa_ep.quantization.quantizer import METADATA_KEY

    model = load_model(arguments.model)
    _edit(model, arguments)
    preset = _preset(arguments)
    data = data_of(arguments, model)
    ranges: Mapping[str, Any] = load_ranges(arguments.ranges) if arguments.ranges else {}
    if arguments.save_ranges:
        ranges = {**calibrate(model, data, preset.calibration), **ranges}
        save_ranges(ranges, arguments.save_ranges)
    quantized = quantize_model(
        model,
        data,
        preset,
        ranges=ranges,
        keep_float=arguments.keep_float,
        max_loss=arguments.max_loss,
    )
    onnx.save_model(quantized, str(arguments.output))
    facts = json.loads(
        next(entry.value for entry in quantized.metadata_props if entry.key == METADATA_KEY)
    )
    return {
        "model": str(arguments.model),
        "output": str(arguments.output),
        "preset": arguments.preset,
        "calibrator": facts["options"]["calibration"],
        "options": facts["options"],
        "in_float": facts["in_float"],
        "loss": facts.get("loss"),
        "tried": facts.get("tried", {}),
        "samples": _count(data),
        "random": arguments.data is None and arguments.random is not None,
        **_counts(quantized),
        "bytes": arguments.output.stat().st_size,
        "float_bytes": model.ByteSize(),
        **_claimed(arguments.output),
    }


def _edit(model: "onnx.ModelProto", arguments: argparse.Namespace) -> None:
    from furiosa_ep.quantization import ModelEditor, TensorType

    editor = ModelEditor(model)
    try:
        for name, kind in arguments.input_type:
            editor.convert_input_type(name, TensorType[kind.upper()])
        for name, kind in arguments.output_type:
            editor.convert_output_type(name, TensorType[kind.upper()])
    except ValueError as error:
        raise CommandError(f"{arguments.model}: {error}") from error


def _preset(arguments: argparse.Namespace) -> "Preset":
    from furiosa_ep.quantization.presets import find_preset

    preset = find_preset(arguments.preset)
    if arguments.calibrator is None:
        return preset
    return dataclasses.replace(preset, calibration=arguments.calibrator)


def _count(data: "CalibrationData") -> int | None:
    return len(data) if isinstance(data, Sized) else None


def _counts(model: "onnx.ModelProto") -> dict[str, int]:
    """How much of a QDQ model is quantized."""
    from furiosa_ep.quantization.prepare import QDQ

    dequantized = {
        output
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for output in node.output
    }
    operators = [node for node in model.graph.node if node.op_type not in QDQ]
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        "operators": len(operators),
        "quantized_operators": sum(
            any(name in dequantized for name in node.input) for node in operators
        ),
        "quantized_values": len(
            {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        ),
        "quantized_constants": len(
            {
                node.input[0]
                for node in model.graph.node
                if node.op_type == "DequantizeLinear" and node.input[0] in constants
            }
        ),
    }


def _claimed(path: Path) -> dict[str, Any]:
    """What the NPU takes of a model; why it cannot be told, where the provider does not run."""
    import furiosa_ep

    try:
        report = furiosa_ep.explain(path)
    except Exception as error:  # onnxruntime's exceptions have no common base
        return {"npu": None, "npu_problem": str(error)}
    return {"npu": _npu(report)}


def _npu(report: "Report") -> dict[str, Any]:
    left = [unit for unit in report.units if unit.partition is None]
    alike: dict[tuple[str, ...], list[Decline]] = {}
    for unit in left:
        if unit.decline is not None:
            key = (unit.op_type, unit.decline.code, unit.decline.mend)
            alike.setdefault(key, []).append(unit.decline)
    return {
        "units": len(report.units),
        "units_on_npu": len(report.units) - len(left),
        "partitions": len(report.partitions),
        "on_cpu": [
            {
                "op_type": op_type,
                "count": len(declines),
                "code": code,
                "reason": declines[0].reason,
                "mend": mend,
            }
            for (op_type, code, mend), declines in alike.items()
        ],
    }


def _lines(found: Mapping[str, Any]) -> list[str]:
    samples = "" if found["samples"] is None else f", {found['samples']} samples"
    share = found["bytes"] / max(found["float_bytes"], 1)
    left_out = [name for name, value in found["options"].items() if value is False]
    methods = f", without {', '.join(left_out)}" if left_out and found["tried"] else ""
    lines = [
        f"preset     {found['preset']}, calibrator {found['calibrator']}{methods}{samples}",
        f"quantized  {found['quantized_operators']} of {found['operators']} operators, "
        f"{found['quantized_values']} values, {found['quantized_constants']} constants",
        f"written    {found['output']}, {_size(found['bytes'])}, {share:.0%} of the float model",
        *_npu_lines(found),
    ]
    if found["loss"] is not None:
        lines.append(f"loss       {found['loss']:.2g} of the power of the outputs")
    alike: dict[str, list[str]] = {}
    for label, reason in found["in_float"].items():
        alike.setdefault(reason, []).append(label)
    for reason, labels in alike.items():
        shown = ", ".join(labels[:SHOWN]) + (", ..." if len(labels) > SHOWN else "")
        lines.append(f"float      {len(labels)} nodes ({shown}): {reason}")
    if found["random"]:
        lines.append(f"WARNING    {RANDOM}")
    return [*lines, f"next       furiosa verify {shlex.quote(found['output'])}"]


def _npu_lines(found: Mapping[str, Any]) -> list[str]:
    npu = found["npu"]
    if npu is None:
        return [f"NPU        cannot be asked, see furiosa doctor: {found['npu_problem']}"]
    plural = "" if npu["partitions"] == 1 else "s"
    lines = [
        f"NPU        {npu['units_on_npu']} of {npu['units']} node units, "
        f"{npu['partitions']} partition{plural}"
    ]
    for reason in npu["on_cpu"]:
        lines.append(
            f"CPU        {reason['count']} x {reason['op_type']} ({reason['code']}): "
            f"{reason['reason']}"
        )
        if reason["mend"]:
            lines.append(f"           {reason['mend']}")
    return lines


def _size(count: int) -> str:
    if count < 1 << 20:
        return f"{count / (1 << 10):.1f} KB"
    return f"{count / (1 << 20):.1f} MB"

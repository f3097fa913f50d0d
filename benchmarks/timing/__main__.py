"""Hold estimates against published figures: `python -m benchmarks.timing --exports DIR`."""

import argparse
import sys
from pathlib import Path

from benchmarks.timing.estimates import Estimates
from benchmarks.timing.figures import FIGURES, LATENCIES, MULTI_STREAM
from benchmarks.timing.fit import FITTED, Quality, across_families, fit, predictor, rows
from benchmarks.timing.networks import EXPORTED, Networks
from benchmarks.timing.report import latency_table, table, write_plot, write_table
from furiosa_ep.device_emulator.timing import PARAMETERS, Parameters

DOCUMENTS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCUMENTS / "timing_model.md"
HOST_DOCUMENT = DOCUMENTS / "estimate.md"
PLOT = DOCUMENTS / "timing_model.svg"


def main() -> None:
    """Print the tables, and what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timing", description=__doc__)
    parser.add_argument(
        "--exports",
        type=Path,
        help="folder of detectors that the package ultralytics has exported to ONNX, by their "
        f"configurations: {', '.join(f'{name}.onnx' for name in EXPORTED.values())}",
    )
    parser.add_argument(
        "--decoding", action="store_true", help="keep what decodes boxes in detectors"
    )
    parser.add_argument("--fit", action="store_true", help="fit the parameters once more")
    parser.add_argument(
        "--cross-validate",
        action="store_true",
        help="predict each family of networks with parameters fitted to the others",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write the tables into {DOCUMENT.name} and {HOST_DOCUMENT.name}, and {PLOT.name}",
    )
    options = parser.parse_args()
    networks = Networks(options.exports, decoding=options.decoding)
    figures, latencies = (
        [figure for figure in some if figure.network in networks] for some in (FIGURES, LATENCIES)
    )
    missing = {one.network for one in (*FIGURES, *LATENCIES) if one.network not in networks}
    if missing and options.write:
        parser.error(f"--write needs all exports; {', '.join(sorted(missing))}: not there")
    if missing:
        print(f"Not exported: {', '.join(sorted(missing))}", file=sys.stderr)
    predict = predictor(networks)
    parameters = PARAMETERS
    if options.fit:
        parameters = fit([figure for figure in figures if figure.fitted], predict)
        print(f"Fitted: {_shown(parameters)}; in use: {_shown(PARAMETERS)}\n")
    found = rows(figures, predict, parameters)
    estimates = Estimates(networks)
    queries = [estimates.together(one) for one in MULTI_STREAM]
    npu = table(found, estimates.npu_rows(figures), queries)
    host = latency_table(
        estimates.latency_rows(latencies, decoding=True),
        estimates.latency_rows(latencies, decoding=False),
    )
    print(f"{npu}\n\n{host}")
    if options.cross_validate:
        one = Quality.of(across_families(figures, predict))
        print(
            f"\nEach family by the others: mean error {one.mean:.1%}, largest {one.most:.1%}, "
            f"rank correlation {one.rank:.3f}"
        )
    if options.write:
        write_table(npu, DOCUMENT)
        write_table(host, HOST_DOCUMENT)
        write_plot(found, PLOT)


def _shown(parameters: Parameters) -> str:
    return ", ".join(f"{name} {getattr(parameters, name):.4g}" for name in FITTED)


if __name__ == "__main__":
    main()

"""What installed plugins cost: sessions of ResNet50 without and with many of them.

    python -m benchmarks.plugins [--plugins 50] [--rules 10] [--rounds 9]

Every plugin is a distribution of its own with an entry point and supports `rules` operators of its
domain, every tenth as a pattern of nodes that end with a Conv, so that each Conv is looked at.
Every measurement is a process of its own (benchmarks.session_probe), both kinds in turns; ratios
are of medians.

"""

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.prepare import prepare
from benchmarks.sessions import cached_bytecode, probe

_MODULE = '''
from furiosa_ep.plugin import (
    UNARY, DeclineCode, OperatorSupport, Pattern, PatternNode, PluginInfo, constraint, hookimpl
)

PATTERN = Pattern(
    (PatternNode("Tanh", ["x"], ["t"]), PatternNode("Conv", ["t", "w", "b"], ["y"])),
    ("x", "w", "b"), "y",
)

@constraint(DeclineCode.ATTRIBUTE, "Change it.")
def mode(unit, graph):
    """Attribute mode must be fast."""
    return None if unit.node.attributes.get("mode") == "fast" else "another mode"

def lower(unit, builder):
    raise NotImplementedError

@hookimpl
def furiosa_plugin():
    return PluginInfo("{name}", "1.0", api_version=1)

@hookimpl
def furiosa_operators():
    return [
        OperatorSupport(f"Rule{{number}}", lower, (*UNARY, mode), "{name}",
                        pattern=PATTERN if number % 10 == 9 else None)
        for number in range({rules})
    ]
'''


def install(folder: Path, plugins: int, rules: int) -> None:
    """Write the plugins as installed distributions into a folder."""
    for number in range(plugins):
        name = f"bench_plugin_{number}"
        (folder / f"{name}.py").write_text(_MODULE.format(name=name, rules=rules))
        metadata = folder / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[furiosa_ep]\n{name} = {name}\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plugins")
    parser.add_argument("--plugins", type=int, default=50)
    parser.add_argument("--rules", type=int, default=10, help="of each plugin")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/models"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = arguments.folder / "resnet50.onnx"
    model.write_bytes(prepare("resnet50", 1, "uint8", arguments.folder))
    with tempfile.TemporaryDirectory() as installed, cached_bytecode() as environment:
        install(Path(installed), arguments.plugins, arguments.rules)
        path = os.pathsep.join(filter(None, [installed, environment.get("PYTHONPATH", "")]))
        kinds = {"without": environment, "with": {**environment, "PYTHONPATH": path}}
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for turn in range(arguments.rounds + 1):
            for kind, own in kinds.items():
                result = probe("NPU", model, own)
                if turn:  # the first one fills the caches
                    found[kind].append(result)
    for key, what in (("cold", "first session"), ("second", "second session"), ("run", "a run")):
        without, loaded = (median(one[key] for one in found[kind]) * 1e3 for kind in kinds)
        print(f"{what:15} {without:8.2f} ms without, {loaded:8.2f} ms with {arguments.plugins} "
              f"plugins of {arguments.rules} rules: {loaded / without:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()

"""All broken examples, installed at once."""

import json
import re
import sys
from pathlib import Path

from tests.examples.installation import EXAMPLES, run

PROGRAM = """
import json, logging, sys
import onnx.parser, furiosa_ep

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21, "broken_constraint" : 1, "broken_kernel" : 1]>
    g (float[1,3,8,8] x) => (float[1,4,8,8] y) <
        float s = {0.02}, uint8 z = {128}, float ws = {0.05}, int8 wz = {0},
        int8[4,3,1,1] w = {3, -20, 9, 11, 30, -7, -25, 5, 14, 2, 17, -13}
    > {
        x_codes = QuantizeLinear(x, s, z)
        x_values = DequantizeLinear(x_codes, s, z)
        weights = DequantizeLinear(w, ws, wz)
        conv = Conv(x_values, weights)
        conv_codes = QuantizeLinear(conv, s, z)
        conv_values = DequantizeLinear(conv_codes, s, z)
        [with_constraint] same = broken_constraint.Same(conv_values)
        same_codes = QuantizeLinear(same, s, z)
        same_values = DequantizeLinear(same_codes, s, z)
        [with_kernel] again = broken_kernel.Same(same_values)
        again_codes = QuantizeLinear(again, s, z)
        again_values = DequantizeLinear(again_codes, s, z)
        relu = Relu(again_values)
        relu_codes = QuantizeLinear(relu, s, z)
        y = DequantizeLinear(relu_codes, s, z)
    }
''')
options = {"claim": "all", "summary": "off", **json.loads(sys.argv[1])}
rows = furiosa_ep.explain(model, options).rows
print(json.dumps({row.op_type: row.code for row in rows if row.code}))
for _ in range(2):
    result = furiosa_ep.verify(model, runs=2, options=options)
    assert result.difference is None, result.difference
"""

LEFT_OUT = {
    "api-version": "was written for version 99 of the plugin API",
    "attribute": "module 'furiosa_ep_broken_attribute' has no attribute 'plugin'",
    "descriptor": "furiosa_operators: expected OperatorSupport, found str",
    "exit": "SystemExit: not today",
    "hook": "unknown hook furiosa_kernelz",
    "import": "No module named 'no_such_module'",
    "library": "kernel 'BROKEN_LIBRARY_COPY': no library no_such_library.so",
    "priority": "Conv, priority 0: both 'furiosa_ep' and 'broken-priority'",
    "raising-hook": "RuntimeError: no operators today",
    "symbol": "has no symbol 'no_such_symbol'",
}
"""What the warnings say of those that are left out altogether."""
IN_A_SESSION = {
    "constraint": "constraint anything failed at 'with_constraint': ZeroDivisionError",
    "pass-assignment": "computes 'Conv(conv):Conv1' again",
    "pass-shapes": "is U8 [1, 4, 8, 8, 2]: expected U8 [1, 4, 8, 8]",
    "pass-types": "is I64 [1, 4, 8, 8]: expected U8 [1, 4, 8, 8]",
    "raising-pass": "pass broken-raising-pass: RuntimeError: no rewrites today",
}
"""Of those that each session finds out anew."""
ONCE = {"notification": "furiosa_partitioned: RuntimeError: not interested in reports"}
NEVER = {"kernel"}
"""Of those that end a run."""


def test_every_broken_example_is_looked_at() -> None:
    examples = {path.parent.name for path in EXAMPLES.glob("broken/*/pyproject.toml")}
    assert examples == {*LEFT_OUT, *IN_A_SESSION, *ONCE, *NEVER}
    table = (EXAMPLES / "broken" / "README.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == examples


def test_one_warning_says_of_each_what_is_wrong_and_all_else_works(broken: Path) -> None:
    done = run([sys.executable, "-c", PROGRAM, "{}"], broken)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Same"] in ("plugin-error", "no-kernel")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING ")]
    for name, text in (LEFT_OUT | ONCE | IN_A_SESSION).items():
        own = [line for line in warnings if f"plugin 'broken-{name}'" in line]
        assert own, name
        assert all(text in line for line in own), own
        # explain decides only, and two sessions run.
        sessions = 3 if name == "constraint" else 2
        assert len(own) == (sessions if name in IN_A_SESSION else 1), own
        warnings = [line for line in warnings if line not in own]
    assert not warnings


def test_a_kernel_that_fails_ends_the_run_with_its_plugin_and_node(broken: Path) -> None:
    done = run([sys.executable, "-c", PROGRAM, '{"python_kernels": "allow"}'], broken)
    assert done.returncode == 1
    assert (
        "plugin 'broken-kernel', kernel 'BROKEN_KERNEL_SAME', node 'with_kernel': "
        "RuntimeError: no results today" in done.stderr
    )


def test_the_list_says_what_is_wrong(broken: Path) -> None:
    done = run([sys.executable, "-m", "furiosa_ep.cli", "plugins", "list", "--json"], broken)
    assert done.returncode == 1
    plugins = json.loads(done.stdout)["plugins"]
    problems = {one["name"]: one["problem"] for one in plugins if one["problem"]}
    assert set(problems) == {f"broken-{name}" for name in LEFT_OUT}
    for name, text in LEFT_OUT.items():
        assert text in problems[f"broken-{name}"]

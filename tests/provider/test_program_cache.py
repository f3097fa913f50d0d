"""Programs of open shapes share what DRAM there is: older ones make room for new ones."""

from pathlib import Path

import pytest

from tests.interpreter import run_program

MIB = 1 << 20

PROGRAM = """
import os, sys
import numpy as np, onnx.parser, onnxruntime as ort, furiosa_ep
from furiosa_ep import devices
from furiosa_ep.device_emulator import Executable, checksum
from furiosa_ep.program import Binding, Command, DType, Program, Schedule, Storage, Tensor

MIB = 1 << 20
model = onnx.parser.parse_model('''
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[1,N,W] x) => (uint8[1,N,W] y, uint8[1,N,W] z) <float s = {0.5}, uint8 a = {0}> {
    d = DequantizeLinear(x, s, a) t = Tanh(d) v = QuantizeLinear(t, s, a)
    e = DequantizeLinear(v, s, a) f = ThresholdedRelu(e) w = QuantizeLinear(f, s, a)
    h = DequantizeLinear(w, s, a) i = Tanh(h) y = QuantizeLinear(i, s, a)
    z = Identity(v) }''').SerializeToString()
furiosa_ep.register()
own = {"claim": "all", "summary": "off", "disabled_ops": "ThresholdedRelu"}

def create():
    providers = [("FuriosaProvider", own), "CPUExecutionProvider"]
    return ort.InferenceSession(model, providers=providers)

def run(session, rows):
    x = np.random.default_rng(rows).integers(0, 256, (1, rows, 1024), np.uint8)
    return session.run(None, {"x": x})[0]

def used():
    return devices.list_devices()[0].dram_used

def fill(left):
    '''Leaves so many bytes of the card's DRAM.'''
    size = devices.list_devices()[0].dram_bytes - used() - left
    program = Program(
        tensors=[Tensor(DType.U8, one, (6,), (1,)) for one in (Storage.INPUT, Storage.OUTPUT)],
        commands=[Command("COPY", (0, None, 1), {}, "copy")],
        inputs=[Binding("x", DType.U8, (6,))], outputs=[Binding("y", DType.U8, (6,))],
        constants=b"", arena_size=0, schedule=Schedule("warboy", 2_000_000_000, 1, size),
    ).to_bytes(checksum)
    device, executable = devices.open_shared(), Executable(program)
    device.place(executable)
    return device, executable

session = create()
assert len({one.partition for one in furiosa_ep.explain(model, own).rows} - {None}) == 2
cpu = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
"""


@pytest.fixture
def small_card(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cards.toml").write_text("[[device]]\ndram_gib = 1\n")
    monkeypatch.setenv("FURIOSA_EMULATED_DEVICES", str(tmp_path / "cards.toml"))


def run(body: str) -> list[str]:
    result = run_program(PROGRAM + body)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_older_programs_make_room(small_card: None) -> None:
    """Each row takes 5 KiB in both partitions together; no more than 200 of them fit."""
    lines = run("""
keep = fill(MIB)
for rows in [10, 150, 20, 100, 30, 150, 60, 10, 190]:
    np.testing.assert_array_equal(run(session, rows), run(cpu, rows))
    assert used() <= devices.list_devices()[0].dram_bytes
before = devices.list_devices()[0].counters()
run(session, 190)
try: run(session, 400)
except Exception as error: print(error)
np.testing.assert_array_equal(run(session, 190), run(cpu, 190))
""")
    assert len(lines) == 1
    assert "OutOfDeviceMemory: a Program needs" in lines[0]


def test_programs_stay_while_there_is_room(small_card: None) -> None:
    (taken,) = run("""
for rows in (10, 20, 30):
    run(session, rows)
print(used())
""")
    assert int(taken) > 60 * 4 * 1024


def test_programs_of_other_sessions_stay(small_card: None) -> None:
    lines = run("""
run(session, 100)
keep = fill(MIB // 4)
other = create()
try: run(other, 100)
except Exception as error: print(error)
print(used() - run(session, 100).size)
""")
    assert "OutOfDeviceMemory" in lines[0]


def test_programs_that_run_stay(small_card: None) -> None:
    """Threads that need more than there is together get it one after the other, or an error."""
    (told,) = run("""
import threading
keep = fill(MIB)
wrong = []

def work(number):
    for turn in range(15):
        rows = 40 + 10 * ((number + turn) % 7)
        try: result = run(session, rows)
        except Exception as error:
            if "OutOfDeviceMemory" not in str(error): wrong.append(error)
        else:
            if not np.array_equal(result, expected[rows]): wrong.append(rows)

expected = {rows: run(cpu, rows) for rows in range(40, 101, 10)}
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for one in threads: one.start()
for one in threads: one.join()
print(wrong, used() <= devices.list_devices()[0].dram_bytes)
""")
    assert told == "[] True"


def test_a_child_that_is_forked_gives_up_its_own(small_card: None) -> None:
    """Parent and child need DRAM for each Program that they both run."""
    lines = run("""
for rows in (60, 70): run(session, rows)
keep = fill(MIB // 2)
child = os.fork()
if child == 0:
    for rows in (60, 70, 60):
        np.testing.assert_array_equal(run(session, rows), run(cpu, rows))
    print(len(devices.clients()), flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert lines == ["2", "0"]

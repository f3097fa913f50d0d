"""Float models become what quantization would make of them, but for the numbers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from furiosa_ep.compiler.driver import CompiledPartition
from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.estimation.floats import quantized_whole
from furiosa_ep.estimation.reading import read_light
from furiosa_ep.estimation.shapes import enlarge
from furiosa_ep.program import Program
from furiosa_ep.quantization import quantize_model
from furiosa_ep.quantization.units import Trial
from tests.estimation.models import network


def program(trial: Trial) -> Program:
    (indices,) = trial.report.partitions
    return CompiledPartition(trial.graph.part(set(indices))).build()


def commands(program: Program) -> list[tuple[object, ...]]:
    """What each command works on: what an estimate depends on."""
    return [
        (
            one.opcode,
            *(
                None
                if index is None
                else (program.tensors[index].dims, program.tensors[index].dtype)
                for index in one.operands
            ),
        )
        for one in program.commands
    ]


def made(model: onnx.ModelProto, batch: int | None = None, **shapes: tuple[int, ...]) -> Program:
    trial, _ = quantized_whole(read_light(model), batch, shapes)
    return program(trial)


def test_the_program_is_that_of_the_quantized_model() -> None:
    model = network()
    samples = [np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)]
    quantized = onnx.shape_inference.infer_shapes(quantize_model(model, samples, "min-max"))
    expected = Program.from_bytes(CompiledPartition(quantized.SerializeToString()).program())
    found = made(model)
    assert commands(found) == commands(expected)
    assert len(found.constants) == len(expected.constants)
    assert found.arena_size == expected.arena_size


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_floats_count_as_float32(dtype: int) -> None:
    assert commands(made(network(dtype=dtype))) == commands(made(network()))


@pytest.mark.parametrize("opset", [8, 11, 13, 18, 21, 23])
def test_any_opset_will_do(opset: int) -> None:
    assert commands(made(network(opset=opset))) == commands(made(network()))


@pytest.mark.parametrize("first", ["batch", 1, 4])
def test_the_batch_may_be_open_one_or_the_same(first: int | str) -> None:
    found = made(network((first, 3, 32, 32)), 4)
    assert found.inputs[0].shape == (4, 3, 32, 32)
    assert found.outputs[0].shape == (4, 10)


def test_an_open_batch_is_one() -> None:
    trial, batch = quantized_whole(read_light(network(("n", 3, 32, 32))), None, {})
    assert batch == 1
    assert program(trial).inputs[0].shape == (1, 3, 32, 32)


def test_a_fixed_batch_is_that_of_the_estimate() -> None:
    assert quantized_whole(read_light(network((4, 3, 32, 32))), None, {})[1] == 4
    with pytest.raises(EstimateError, match=r"'x'.*\[4, 3, 32, 32\].*batches of 4 alone"):
        quantized_whole(read_light(network((4, 3, 32, 32))), 8, {})


def test_open_dims_must_be_given() -> None:
    model = network((1, 3, "h", "w"))
    with pytest.raises(EstimateError, match=r"\[1, 3, h, w\].*--shape x=1,3,224,224"):
        made(model)
    assert made(model, x=(1, 3, 64, 48)).inputs[0].shape == (1, 3, 64, 48)


def test_a_shape_says_the_batch_where_the_model_is_for_one() -> None:
    found = made(network((1, 3, "h", "w")), 4, x=(4, 3, 64, 48))
    assert found.inputs[0].shape == (4, 3, 64, 48)
    assert found.outputs[0].shape == (4, 10)


def test_an_input_without_a_shape_gets_one() -> None:
    model = network()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(EstimateError, match=r"input 'x' has no shape: give it, like --shape x=1,"):
        made(model)
    assert commands(made(model, x=(1, 3, 32, 32))) == commands(made(network()))


@pytest.mark.parametrize(("allowzero", "lengths"), [(0, [0, -1]), (1, [1, -1])])
def test_reshape_copies_the_batch_where_zeros_copy(allowzero: int, lengths: list[int]) -> None:
    model = network()
    model.graph.node[6].attribute.append(onnx.helper.make_attribute("allowzero", allowzero))
    larger = enlarge(model, {"x": (4, 3, 32, 32)})
    assert [value.type.tensor_type.shape.dim[0].dim_value for value in larger.graph.input] == [4]
    constants = {one.name: one for one in larger.graph.initializer}
    (reshape,) = (node for node in larger.graph.node if node.op_type == "Reshape")
    assert onnx.numpy_helper.to_array(constants[reshape.input[1]]).tolist() == lengths
    read = {name for node in larger.graph.node for name in node.input}
    assert constants.keys() <= read


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, "no input 'z'; the model has x"),
        ({"x": (1, 3, 16, 16)}, r"\[1, 3, 16, 16\] does not fit the model's \[1, 3, 32, 32\]"),
        ({"x": (1, 3)}, "does not fit"),
        ({"x": (4, 3, 32, 32)}, "does not fit"),
    ],
)
def test_shapes_must_fit(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(EstimateError, match=message):
        quantized_whole(read_light(network()), None, shapes)


@pytest.mark.parametrize("length", [0, -5, 2**31, 2**70])
def test_lengths_must_be_possible(length: int) -> None:
    with pytest.raises(EstimateError, match=r"'x': .* is no shape, whose dims are from 1 to"):
        made(network(("n", 3, "h", "w")), x=(1, 3, length, 32))
    with pytest.raises(EstimateError, match="is no shape"):
        made(network(("n", 3, 32, 32)), x=(length, 3, 32, 32))


def test_a_shape_must_not_contradict_the_batch() -> None:
    with pytest.raises(EstimateError, match=r"\[2, 3, 32, 32\] contradicts a batch of 4"):
        made(network(("n", 3, 32, 32)), 4, x=(2, 3, 32, 32))


def test_layers_of_one_shape_have_weights_of_their_own() -> None:
    model = network()
    graph = model.graph
    graph.node.insert(2, onnx.helper.make_node("Conv", ["b", "w3"], ["b1"], pads=[1] * 4))
    graph.node.insert(3, onnx.helper.make_node("Conv", ["b1", "w4"], ["b2"], pads=[1] * 4))
    graph.node[4].input[0] = "b2"
    weight = np.zeros((32, 32, 3, 3), np.float32)
    graph.initializer.extend(onnx.numpy_helper.from_array(weight, n) for n in ("w3", "w4"))
    assert len(made(model).constants) - len(made(network()).constants) >= 2 * weight.size


def test_weights_that_stay_on_the_host_share_memory() -> None:
    model = network()
    graph = model.graph
    for at in range(3):
        weight = np.zeros((10, 1000), np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(weight, f"host{at}"))
        graph.node.append(
            onnx.helper.make_node("Einsum", ["y", f"host{at}"], [f"z{at}"], equation="ab,bc->ac")
        )
        graph.output.append(
            onnx.helper.make_tensor_value_info(f"z{at}", TensorProto.FLOAT, [1, 1000])
        )
    trial, _ = quantized_whole(read_light(model), None, {})
    _, floats = trial.model.memory
    assert floats.size == 10_000
    assert all(trial.graph.shape(f"z{at}") == (1, 1000) for at in range(3))

"""Models are read without their weights, whatever holds these."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.estimation.reading import read_light
from furiosa_ep.quantization.optimize.copies import elements_of, is_shape_alone
from tests.estimation.models import network

WEIGHTS = {"w0", "w1", "w2"}


def shapes_alone(model: onnx.ModelProto) -> set[str]:
    return {one.name for one in model.graph.initializer if is_shape_alone(one)}


def test_weights_are_left_out_of_a_file_of_bytes_and_of_a_model(tmp_path: Path) -> None:
    model = network()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for source in (path, str(path), model.SerializeToString(), model):
        light = read_light(source)
        assert shapes_alone(light) == WEIGHTS
        assert [node.name for node in light.graph.node] == [n.name for n in model.graph.node]
        for own, one in zip(light.graph.initializer, model.graph.initializer, strict=True):
            assert (own.name, own.dims, own.data_type) == (one.name, one.dims, one.data_type)
            if own.name not in WEIGHTS:
                np.testing.assert_array_equal(elements_of(own), numpy_helper.to_array(one))
    assert not shapes_alone(model)


def test_a_constant_node_with_weights_becomes_an_initializer() -> None:
    model = network(channels=96)
    graph = model.graph
    weight = next(one for one in graph.initializer if one.name == "w1")
    graph.initializer.remove(weight)
    graph.node.insert(0, helper.make_node("Constant", [], ["w1"], value=weight))
    light = read_light(model.SerializeToString())
    assert "w1" in shapes_alone(light)
    assert all(node.op_type != "Constant" for node in light.graph.node)


def test_weights_in_a_file_that_is_gone_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(
        network(), path, save_as_external_data=True, location="weights.bin", size_threshold=1024
    )
    (tmp_path / "weights.bin").unlink()
    assert shapes_alone(read_light(path)) == WEIGHTS


def test_small_constants_are_read_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="all.bin", size_threshold=0)
    (flat,) = (one for one in read_light(path).graph.initializer if one.name == "flat")
    assert numpy_helper.to_array(flat).tolist() == [1, -1]
    (tmp_path / "all.bin").unlink()
    with pytest.raises(EstimateError, match=r"'flat'.*'all.bin'"):
        read_light(path)


@pytest.mark.parametrize("data", [b"", b"no model at all", bytes(100), b"\x08\x07"])
def test_what_is_no_model_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(EstimateError, match="not an ONNX model"):
            read_light(source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EstimateError, match="No such file"):
        read_light(tmp_path / "none.onnx")


def test_integers_and_small_floats_stay() -> None:
    model = network()
    table = numpy_helper.from_array(np.arange(4096), "indices")
    model.graph.initializer.append(table)
    kept = {one.name: one for one in read_light(model.SerializeToString()).graph.initializer}
    np.testing.assert_array_equal(elements_of(kept["indices"]), np.arange(4096))
    assert kept["indices"].data_type == TensorProto.INT64

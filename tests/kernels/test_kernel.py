"""What plugins write references and cases of kernels with."""

import numpy as np
import numpy.typing as npt
import onnx.parser
import pytest
from onnxruntime import InferenceSession

from furiosa_ep.kernels.cases import random_tensor
from furiosa_ep.kernels.kernel import KernelTensor

QDQ = """
    <ir_version: 9, opset_import: ["" : 21]>
    g (uint8[n] x, float[n] f) => (float[n] real, uint8[n] codes)
        <float scale = {%.9g}, uint8 zero = {%d}> {
        real = DequantizeLinear(x, scale, zero)
        codes = QuantizeLinear(f, scale, zero)
    }
"""


@pytest.mark.parametrize("seed", range(8))
def test_tensors_quantize_as_onnxruntime_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    tensor = random_tensor(random, [300])
    values: npt.NDArray[np.float32] = random.normal(0, 100 * tensor.scale, 300).astype(np.float32)
    values[:4] = np.nan, np.inf, -np.inf, tensor.scale / 2
    model = onnx.parser.parse_model(QDQ % (tensor.scale, tensor.zero_point)).SerializeToString()
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    real, codes = session.run(None, {"x": tensor.array, "f": values})
    np.testing.assert_array_equal(tensor.dequantized(), real)
    np.testing.assert_array_equal(tensor.quantized(values), codes)


@pytest.mark.parametrize("dtype", ["u8", "i8", "i16", "i32", "i64", "f32", "bool"])
def test_random_tensors_vary_and_repeat(dtype: str) -> None:
    def tensors() -> list[KernelTensor]:
        random = np.random.default_rng(1)
        return [random_tensor(random, (5, 7), dtype) for _ in range(100)]

    first, second = tensors(), tensors()
    for one, other in zip(first, second, strict=True):
        assert one.array.shape == (5, 7)
        assert one[1:] == other[1:]
        np.testing.assert_array_equal(one.array, other.array)
    assert len({one.array.tobytes() for one in first}) > 50
    assert first[0].array.dtype.name == {"f32": "float32", "bool": "bool"}.get(
        dtype, dtype.replace("i", "int").replace("u", "uint")
    )


def test_random_tensors_are_where_kernels_divide_by_zero_and_saturate() -> None:
    random = np.random.default_rng(2)
    tensors = [random_tensor(random, (4, 4)) for _ in range(100)]
    zeros = [one for one in tensors if (one.array == one.zero_point).all()]
    extremes = [one for one in tensors if set(one.array.flat) == {0, 255}]
    assert zeros
    assert extremes
    assert {one.zero_point for one in tensors} >= {0, 128, 255}


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype 'f64': expected one of u8, "):
        random_tensor(np.random.default_rng(), (1,), "f64")

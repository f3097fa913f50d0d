"""The float32 formulas that lowerings share, rounded as in ONNX Runtime's CPU kernels.

Every step is one float32 operation.
"""

import numpy as np
import numpy.typing as npt

from furiosa_ep.graph import QuantParams

Floats = npt.NDArray[np.float32]


def requantize_multiplier(
    a_scale: np.float32, b_scale: npt.ArrayLike, y_scale: np.float32 | None, alpha: float = 1.0
) -> Floats:
    """What an int32 sum of products is multiplied with: alpha * a_scale * b_scale / y_scale.

    `b_scale` is one scale or one per output channel; `y_scale` None stands for a float result.
    """
    with np.errstate(all="ignore"):
        product = np.float32(alpha) * np.float32(a_scale) * np.asarray(b_scale, np.float32)
        result = product if y_scale is None else product / np.float32(y_scale)
    return np.asarray(result, np.float32)


def dequantize(codes: npt.ArrayLike, scale: npt.ArrayLike, zero_point: npt.ArrayLike) -> Floats:
    """DequantizeLinear: (codes - zero_point) * scale."""
    with np.errstate(all="ignore"):
        difference = np.asarray(codes, np.int64) - np.asarray(zero_point, np.int64)
        return np.asarray(difference.astype(np.float32) * np.asarray(scale, np.float32))


def quantize(values: npt.ArrayLike, params: QuantParams) -> npt.NDArray[np.uint8]:
    """QuantizeLinear, in the stored domain: clamp(round_half_even(values / scale) + zero_point)."""
    zero_point = params.stored_zero_point
    with np.errstate(all="ignore"):
        scaled = np.asarray(values, np.float32) / params.scale
        # As ONNX Runtime's vector code: a NaN compares false and becomes the lower limit.
        limited = np.where(scaled > -zero_point, scaled, np.float32(-zero_point))
        limited = np.minimum(limited, np.float32(255 - zero_point))
    return (np.rint(limited).astype(np.int64) + zero_point).astype(np.uint8)


def requantize_table(source: QuantParams, target: QuantParams) -> npt.NDArray[np.uint8]:
    """The 256 stored bytes of `target` for every stored byte of `source`."""
    return quantize(dequantize(np.arange(256), source.scale, source.stored_zero_point), target)

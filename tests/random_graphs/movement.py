"""Operators that move data, and new inputs."""

from typing import Any

import numpy as np

from tests.random_graphs.maker import ModelMaker


def concat(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1)
    if x is None:
        return False
    axis = m.integer(0, len(x.shape) - 1)
    fits = [
        v
        for v in m.values
        if len(v.shape) == len(x.shape)
        and all(a == b for i, (a, b) in enumerate(zip(v.shape, x.shape, strict=True)) if i != axis)
        and v.dtype is x.dtype
    ]
    chosen = [x, *(fits[m.integer(0, len(fits) - 1)] for _ in range(m.integer(1, 3)))]
    (y,) = m.node("Concat", [m.dequantize(v) for v in chosen], axis=axis)
    shape = tuple(
        sum(v.shape[axis] for v in chosen) if i == axis else s for i, s in enumerate(x.shape)
    )
    if m.chance(0.4):
        m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    else:
        m.quantize(y, shape, max(v.amplitude for v in chosen))
    return True


def split(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: any(s >= 2 for s in v.shape))
    if x is None:
        return False
    axis = int(m.random.choice([i for i, s in enumerate(x.shape) if s >= 2]))
    first = m.integer(1, x.shape[axis] - 1)
    sizes = [first, x.shape[axis] - first]
    outputs = m.node(
        "Split", [m.dequantize(x), m.constant(np.array(sizes, np.int64))], 2, axis=axis
    )
    for output, size in zip(outputs, sizes, strict=True):
        shape = tuple(size if i == axis else s for i, s in enumerate(x.shape))
        m.quantize_as(output, shape, x.scale, x.zero_point, x.dtype)
    return True


def slice_(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: any(s >= 2 for s in v.shape))
    if x is None:
        return False
    axis = int(m.random.choice([i for i, s in enumerate(x.shape) if s >= 2]))
    size = x.shape[axis]
    start, step = m.integer(0, size - 1), int(m.random.choice([1, 1, 2, -1]))
    end = m.integer(start + 1, size) if step > 0 else -size - 1
    length = len(range(size)[start : (None if end == -size - 1 else end) : step])
    inputs = [np.array([v], np.int64) for v in (start, end, axis, step)]
    (y,) = m.node("Slice", [m.dequantize(x), *(m.constant(v) for v in inputs)])
    shape = tuple(length if i == axis else s for i, s in enumerate(x.shape))
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def pad(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1)
    if x is None:
        return False
    pads = [m.integer(0, 2) for _ in range(2 * len(x.shape))]
    (y,) = m.node("Pad", [m.dequantize(x), m.constant(np.array(pads, np.int64))])
    n = len(x.shape)
    shape = tuple(s + pads[i] + pads[i + n] for i, s in enumerate(x.shape))
    if np.prod(shape) > 200_000:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def reshape(m: ModelMaker) -> bool:
    x = m.any_value()
    if x is None:
        return False
    total = int(np.prod(x.shape))
    if total == 0:
        return False
    first = int(m.random.choice([d for d in range(1, total + 1) if total % d == 0][:20]))
    rest = total // first
    second = int(m.random.choice([d for d in range(1, rest + 1) if rest % d == 0][:20]))
    kind = m.integer(0, 3)
    value = m.dequantize(x)
    if kind == 0:
        axis = m.integer(0, len(x.shape))
        (y,) = m.node("Flatten", [value], axis=axis)
        shape: tuple[int, ...] = (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))
    elif kind == 1:
        axis = m.integer(0, len(x.shape))
        (y,) = m.node("Unsqueeze", [value, m.constant(np.array([axis], np.int64))])
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
    else:
        shape = (first, second, rest // second) if kind == 2 else (first, rest)
        (y,) = m.node("Reshape", [value, m.constant(np.array(shape, np.int64))])
    if len(shape) > 6:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def transpose(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 2)
    if x is None:
        return False
    perm = [int(p) for p in m.random.permutation(len(x.shape))]
    (y,) = m.node("Transpose", [m.dequantize(x)], perm=perm)
    m.quantize_as(y, tuple(x.shape[p] for p in perm), x.scale, x.zero_point, x.dtype)
    return True


def resize(m: ModelMaker) -> bool:
    x = m.image()
    if x is None or np.prod(x.shape) > 20_000:
        return False
    scales = [1.0, 1.0, float(m.random.choice([0.5, 1, 2, 3])), float(m.random.choice([1, 2, 1.5]))]
    shape = tuple(int(np.floor(s * f)) for s, f in zip(x.shape, scales, strict=True))
    if min(shape) < 1:
        return False
    mode = "nearest" if m.chance(0.6) else "linear"
    transforms = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
    attributes: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": str(m.random.choice(transforms)),
    }
    if mode == "nearest":
        attributes["nearest_mode"] = str(m.random.choice(["floor", "ceil", "round_prefer_floor"]))
    (y,) = m.node(
        "Resize", [m.dequantize(x), "", m.constant(np.array(scales, np.float32))], **attributes
    )
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def space_depth(m: ModelMaker) -> bool:
    x = m.image()
    if x is None:
        return False
    if x.shape[1] % 4 == 0 and m.chance(0.5):
        mode = str(m.random.choice(["DCR", "CRD"]))
        (y,) = m.node("DepthToSpace", [m.dequantize(x)], blocksize=2, mode=mode)
        shape = (x.shape[0], x.shape[1] // 4, x.shape[2] * 2, x.shape[3] * 2)
    elif x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0:
        (y,) = m.node("SpaceToDepth", [m.dequantize(x)], blocksize=2)
        shape = (x.shape[0], x.shape[1] * 4, x.shape[2] // 2, x.shape[3] // 2)
    else:
        return False
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def gather(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: len(v.shape) >= 1 and min(v.shape) > 0)
    if x is None:
        return False
    axis = m.integer(0, len(x.shape) - 1)
    size = x.shape[axis]
    indices = m.random.integers(-size, size, m.integer(1, 5)).astype(np.int64)
    (y,) = m.node("Gather", [m.dequantize(x), m.constant(indices)], axis=axis)
    shape = tuple(len(indices) if i == axis else s for i, s in enumerate(x.shape))
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def expand(m: ModelMaker) -> bool:
    x = m.any_value(lambda v: 1 in v.shape and bool(np.prod(v.shape) < 5000))
    if x is None:
        return False
    shape = tuple(m.integer(1, 4) if s == 1 else s for s in x.shape)
    (y,) = m.node("Expand", [m.dequantize(x), m.constant(np.array(shape, np.int64))])
    m.quantize_as(y, shape, x.scale, x.zero_point, x.dtype)
    return True


def batch_normalization(m: ModelMaker) -> bool:
    x = m.image()
    if x is None:
        return False
    c = x.shape[1]
    parameters = [m.random.uniform(0.5, 1.5, c).astype(np.float32) for _ in range(4)]
    (y,) = m.node("BatchNormalization", [m.dequantize(x), *(m.constant(p) for p in parameters)])
    m.quantize(y, x.shape, x.amplitude)
    return True


def fresh_input(m: ModelMaker) -> bool:
    if len(m.inputs) >= 3:
        return False
    m.new_input(m.random_shape())
    return True

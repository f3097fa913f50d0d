"""Device graphs made by hand and at random."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from furiosa_ep.compiler.shapes import output_shape
from furiosa_ep.device_emulator import register_kernel
from furiosa_ep.graph import DeviceGraph, DeviceValue, Operation, QuantParams, Table
from furiosa_ep.kernels.kernel import Kernel, KernelFrame
from furiosa_ep.program import DType

Shape = tuple[int, ...]
PARAMS = QuantParams(np.float32(0.05), 128, False)


def _blend(frame: KernelFrame) -> None:
    x, w = frame.inputs
    assert x is not None
    other = frame.attributes["default"] if w is None else w.array
    value = (x.array - x.zero_point) * x.scale + other * frame.attributes["weight"]
    frame.output.array[...] = np.clip(value / frame.output.scale, 0, 255).astype(np.uint8)


BLEND = Kernel("TEST_BLEND", "x:u8 w:u8? -> y:u8", _blend, "weight:f default")
"""(x - zero point) * scale + weight * (w or default), quantized."""
BLEND_STRIDED = dataclasses.replace(BLEND, opcode="TEST_BLEND_STRIDED", strided=True)


class Maker:
    """Emits operations as lowerings do."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = DeviceGraph()

    def input(self, *shape: int, dtype: DType = DType.U8) -> DeviceValue:
        value = DeviceValue(f"input{len(self.graph.inputs)}", dtype, shape)
        self.graph.inputs.append(value)
        return value

    def output(self, *values: DeviceValue) -> DeviceGraph:
        self.graph.outputs += values
        return self.graph

    def emit(
        self,
        kind: str,
        *inputs: DeviceValue | None,
        shape: Shape | None = None,
        dtype: DType = DType.U8,
        **attributes: Any,
    ) -> DeviceValue:
        if shape is None:
            shapes = [None if one is None else one.shape for one in inputs]
            shape = output_shape(kind, shapes, attributes)
            assert shape is not None, f"{kind} needs a shape"
        number = len(self.graph.operations)
        value = DeviceValue(f"{kind}{number}", dtype, shape)
        self.graph.operations.append(
            Operation(kind, list(inputs), [value], attributes, f"{kind}{number}")
        )
        return value

    def constant(self, array: np.ndarray[Any, Any]) -> DeviceValue:
        return DeviceValue("constant", DType(_NUMBERS[array.dtype.char]), array.shape, array)

    def lookup(self, x: DeviceValue, channel_axis: int | None = None) -> DeviceValue:
        channels = () if channel_axis is None else (x.shape[channel_axis],)
        values = self.random.integers(0, 256, (*channels, 256), np.uint8)
        return self.emit("Lookup", x, table=Table(lambda: values, channel_axis))

    def add(self, a: DeviceValue, b: DeviceValue, scale: float = 0.05) -> DeviceValue:
        y_params = QuantParams(np.float32(scale), 120, False)
        return self.emit("Add", a, b, a_params=PARAMS, b_params=PARAMS, y_params=y_params)

    def mul(self, a: DeviceValue, b: DeviceValue) -> DeviceValue:
        y_params = QuantParams(np.float32(0.07), 120, False)
        return self.emit("Mul", a, b, a_params=PARAMS, b_params=PARAMS, y_params=y_params)

    def conv(self, x: DeviceValue, channels: int, kernel: int = 1, pad: int = 0) -> DeviceValue:
        weights = self.random.integers(-127, 128, (channels, x.shape[1], kernel, kernel), np.int8)
        bias = self.random.integers(-500, 500, channels, np.int32)
        multiplier = np.full(channels, 0.004, np.float32)
        return self.emit(
            "Conv",
            x,
            *map(self.constant, (weights, bias, multiplier)),
            strides=(1, 1),
            dilations=(1, 1),
            pads=(pad,) * 4,
            group=1,
            x_zero_point=128,
            y_zero_point=128,
        )

    def max_pool(self, x: DeviceValue) -> DeviceValue:
        shape = (*x.shape[:2], x.shape[2] - 1, x.shape[3] - 1)
        window: dict[str, Any] = {
            "strides": (1, 1),
            "dilations": (1, 1),
            "pads": (0, 0, 0, 0),
            "kernel": (2, 2),
        }
        return self.emit("MaxPool", x, shape=shape, **window)

    def reshape(self, x: DeviceValue, *shape: int) -> DeviceValue:
        return self.emit("Reshape", x, shape=shape)

    def transpose(self, x: DeviceValue, *perm: int) -> DeviceValue:
        return self.emit("Transpose", x, perm=perm)

    def slice(
        self, x: DeviceValue, axis: int, start: int, count: int, step: int = 1
    ) -> DeviceValue:
        starts, steps, shape = [0] * len(x.shape), [1] * len(x.shape), list(x.shape)
        starts[axis], steps[axis], shape[axis] = start, step, count
        return self.emit("Slice", x, shape=tuple(shape), starts=tuple(starts), steps=tuple(steps))

    def concat(self, *values: DeviceValue, axis: int) -> DeviceValue:
        return self.emit("Concat", *values, axis=axis)

    def pad(self, x: DeviceValue, pads: Sequence[int], value: int = 7) -> DeviceValue:
        return self.emit("Pad", x, pads=tuple(pads), value=value)

    def blend(
        self, x: DeviceValue, w: DeviceValue | None = None, kernel: Kernel = BLEND
    ) -> DeviceValue:
        """A call of BLEND or BLEND_STRIDED, which stay registered."""
        register_kernel(kernel, "tester")
        return self.emit(
            "Call",
            x,
            w,
            shape=x.shape,
            kernel=kernel,
            params=(PARAMS, None),
            y_params=QuantParams(np.float32(0.07), 0, False),
            values={"weight": 0.03, "default": 40},
        )


_NUMBERS = {"B": DType.U8, "b": DType.I8, "i": DType.I32, "f": DType.F32}


def random_graph(seed: int) -> DeviceGraph:
    """A graph of up to 12 operations on up to three inputs, with several outputs."""
    m = Maker(seed)
    r = m.random
    values = [
        m.input(*(int(d) for d in r.integers(1, 5, rank)))
        for rank in r.choice([2, 3, 4, 4], int(r.integers(1, 4)))
    ]
    for _ in range(int(r.integers(1, 13))):
        x = values[int(r.integers(len(values)))]
        made = _STEPS[int(r.integers(len(_STEPS)))](m, x, values)
        if made is not None and 0 < int(np.prod(made.shape)) < 4000:
            values.append(made)
        elif made is not None:
            m.graph.operations.pop()
    count = int(r.integers(1, 4))
    return m.output(*(values[int(i)] for i in r.integers(0, len(values), count)), values[-1])


def _random_reshape(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    size = int(np.prod(x.shape))
    dims: list[int] = []
    while size > 1 and len(dims) < 4:
        divisor = int(m.random.choice([d for d in range(1, size + 1) if size % d == 0]))
        dims.append(divisor)
        size //= divisor
    return m.reshape(x, *dims, size)


def _random_slice(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    axis = int(m.random.integers(len(x.shape)))
    dim, step = x.shape[axis], int(m.random.choice([1, 1, 2, -1]))
    start = int(m.random.integers(dim))
    room = (dim - start + step - 1) // step if step > 0 else start + 1
    return m.slice(x, axis, start, int(m.random.integers(1, room + 1)), step)


def _random_concat(m: Maker, x: DeviceValue, values: list[DeviceValue]) -> DeviceValue:
    axis = int(m.random.integers(len(x.shape)))
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    fitting = [
        one
        for one in values
        if len(one.shape) == len(x.shape) and one.shape[:axis] + one.shape[axis + 1 :] == rest
    ]
    picked = [fitting[int(i)] for i in m.random.integers(0, len(fitting), 2)]
    return m.concat(x, *picked, axis=axis)


def _random_expand(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    shape = tuple(int(m.random.integers(1, 4)) if dim == 1 else dim for dim in x.shape)
    return m.emit("Expand", x, shape=(2, *shape)[-4:] if len(shape) < 4 else shape)


def _random_pad(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    return m.pad(x, [int(one) for one in m.random.integers(0, 3, 2 * len(x.shape))])


def _random_gather(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    axis = int(m.random.integers(len(x.shape)))
    indices = m.random.integers(0, x.shape[axis], (int(m.random.integers(1, 4)), 2)[:1])
    return m.emit("Gather", x, axis=axis, indices=indices)


def _random_transpose(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    return m.transpose(x, *(int(axis) for axis in m.random.permutation(len(x.shape))))


def _random_binary(m: Maker, x: DeviceValue, values: list[DeviceValue]) -> DeviceValue:
    fitting = [one for one in values if one.shape == x.shape]
    other = fitting[int(m.random.integers(len(fitting)))]
    return m.add(x, other) if m.random.random() < 0.5 else m.mul(other, x)


def _random_call(m: Maker, x: DeviceValue, values: list[DeviceValue]) -> DeviceValue:
    fitting = [one for one in values if one.shape == x.shape]
    other = fitting[int(m.random.integers(len(fitting)))] if m.random.random() < 0.7 else None
    return m.blend(x, other, BLEND_STRIDED if m.random.random() < 0.5 else BLEND)


def _random_conv(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue | None:
    if len(x.shape) != 4:
        return None
    return m.conv(x, int(m.random.integers(1, 6)), 3 if min(x.shape[2:]) > 2 else 1, 0)


def _random_pool(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue | None:
    return m.max_pool(x) if len(x.shape) == 4 and min(x.shape[2:]) > 1 else None


def _random_lookup(m: Maker, x: DeviceValue, _: list[DeviceValue]) -> DeviceValue:
    per_channel = len(x.shape) > 1 and m.random.random() < 0.2
    return m.lookup(x, 1 if per_channel else None)


_STEPS = (
    _random_reshape,
    _random_slice,
    _random_concat,
    _random_concat,
    _random_expand,
    _random_pad,
    _random_gather,
    _random_transpose,
    _random_binary,
    _random_binary,
    _random_call,
    _random_conv,
    _random_conv,
    _random_pool,
    _random_lookup,
)

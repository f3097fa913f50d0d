"""Parameters that map 8-bit integers to real numbers."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class QuantParams:
    """Per-tensor quantization of an activation: real = (q - zero_point) * scale."""

    scale: np.float32
    zero_point: int
    """In the domain of the ONNX value: 0..255 for uint8, -128..127 for int8."""
    signed: bool
    """True for int8 values, False for uint8."""

    @property
    def stored_zero_point(self) -> int:
        """The zero point on the device, where int8 is held with its top bit flipped."""
        return self.zero_point + 128 if self.signed else self.zero_point

    @property
    def minimum(self) -> int:
        """The smallest integer of the ONNX value."""
        return -128 if self.signed else 0

    @property
    def maximum(self) -> int:
        """The largest integer of the ONNX value."""
        return 127 if self.signed else 255

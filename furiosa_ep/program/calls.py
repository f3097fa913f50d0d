"""What a CALL command holds in `values`: quantization of its tensors, attributes of its kernel."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

_WORDS_PER_TENSOR = 2


class CallValues(NamedTuple):
    """The `values` of a CALL command, read."""

    quantization: Sequence[tuple[float, int]]
    """Scale and zero point of each operand of the kernel, then of the result; 1 and 0 for a tensor
    that is not quantized or absent."""
    attributes: Sequence[int | float]
    """In the order of their declaration; floats for real ones."""

    def words(self) -> tuple[int, ...]:
        """The attribute `values` of the command."""
        words = []
        for scale, zero_point in self.quantization:
            words += [int.from_bytes(struct.pack("<f", scale), "little"), zero_point]
        for value in self.attributes:
            packed = struct.pack("<d" if isinstance(value, float) else "<q", value)
            words.append(int.from_bytes(packed, "little", signed=True))
        return tuple(words)

    @classmethod
    def from_words(cls, words: Sequence[int], real: Sequence[bool]) -> "CallValues":
        """The inverse of `words`; `real` says of each attribute whether it is."""
        border = len(words) - len(real)
        pairs = zip(
            words[:border:_WORDS_PER_TENSOR], words[1:border:_WORDS_PER_TENSOR], strict=True
        )
        return cls(
            [(struct.unpack("<f", struct.pack("<q", scale)[:4])[0], zero) for scale, zero in pairs],
            [
                struct.unpack("<d", struct.pack("<q", word))[0] if is_real else word
                for word, is_real in zip(words[border:], real, strict=True)
            ],
        )

import pytest

from furiosa_ep.partitioner.support import DeclineCode
from tests.partitioner.operators.one import TYPES, check_movement, operator
from tests.partitioner.operators.qdq import check, declined


@pytest.mark.parametrize("perm", [(0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 2, 3)])
def test_images(perm: tuple[int, ...]) -> None:
    check_movement("Transpose", perm=perm)


def test_other_ranks() -> None:
    check_movement("Transpose", (5, 7))
    check_movement("Transpose", (2, 3, 2, 3, 2, 2), perm=(5, 3, 1, 0, 2, 4))


# The CPU provider of some versions of ONNX Runtime has no kernels for bytes.
@pytest.mark.parametrize("form", ["requantized", "float"])
@pytest.mark.parametrize("dtype", TYPES)
def test_blocks(form: str, dtype: type) -> None:
    for mode in ("DCR", "CRD"):
        check(operator("DepthToSpace", mode=mode, blocksize=2, form=form, dtype=dtype))
    check(operator("SpaceToDepth", (2, 3, 6, 4), blocksize=2, form=form, dtype=dtype))


def test_blocks_divide_the_image() -> None:
    assert declined(operator("DepthToSpace", blocksize=3)).code == DeclineCode.SHAPE
    assert declined(operator("SpaceToDepth", blocksize=2)).code == DeclineCode.SHAPE


def test_blocks_are_of_images() -> None:
    assert declined(operator("DepthToSpace", (2, 8, 5), blocksize=2)).code == DeclineCode.RANK


def test_mode_is_known() -> None:
    found = declined(operator("DepthToSpace", blocksize=2, mode="RCD"))
    assert (found.code, "'DCR', 'CRD'" in found.reason) == (DeclineCode.ATTRIBUTE, True)

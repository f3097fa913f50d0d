"""The operators that the NPU takes out of the box: one module per family.

A module holds the constraints of its operators, their lowerings, and `SUPPORT`, what both are
registered with. The built-in plugin gives them all through the hook that plugins use.
"""

from collections.abc import Iterable

from furiosa_ep.partitioner.operators import (
    arithmetic,
    borders,
    chain,
    conv,
    conv_transpose,
    joining,
    matmul,
    pool,
    qoperator,
    reduce,
    reshape,
    resize,
    slicing,
    tables,
    transpose,
)
from furiosa_ep.partitioner.support import OperatorSupport

FAMILIES = (
    arithmetic,
    borders,
    chain,
    conv,
    conv_transpose,
    joining,
    matmul,
    pool,
    qoperator,
    reduce,
    reshape,
    resize,
    slicing,
    tables,
    transpose,
)


def operators() -> Iterable[OperatorSupport]:
    """Every built-in operator."""
    return tuple(support for family in FAMILIES for support in family.SUPPORT)

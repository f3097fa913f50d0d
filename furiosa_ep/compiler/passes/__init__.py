"""Rewrites of the device graph, each a function, in the order in which they run."""

from collections.abc import Callable, Sequence

from furiosa_ep.compiler.passes.cleanup import remove_dead_operations, remove_identity_tables
from furiosa_ep.compiler.passes.functions import merge_functions
from furiosa_ep.compiler.passes.pads import fold_pads
from furiosa_ep.compiler.passes.residual import fuse_residual_adds
from furiosa_ep.compiler.passes.slices import join_slices
from furiosa_ep.compiler.passes.tables import compose_tables, fuse_tables
from furiosa_ep.compiler.verify import verify
from furiosa_ep.graph import DeviceGraph

Pass = Callable[[DeviceGraph], None]

PIPELINE: Sequence[Pass] = (
    remove_dead_operations,
    merge_functions,
    remove_dead_operations,
    compose_tables,
    remove_identity_tables,
    join_slices,
    remove_dead_operations,
    fuse_tables,
    fuse_residual_adds,
    fuse_tables,
    fold_pads,
    remove_dead_operations,
)


def optimize(graph: DeviceGraph, *, verify_each: bool = False) -> None:
    """Run the passes on the graph in place; verify it before and behind them, or after each one.

    Raises:
        InternalError: where the graph is not well formed.
    """
    verify(graph, "lowering")
    for one in PIPELINE:
        one(graph)
        if verify_each:
            verify(graph, one.__name__)
    verify(graph, "passes")

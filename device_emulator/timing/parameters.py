"""What the timing model takes from published figures, and what from the published design."""

from typing import NamedTuple


class Parameters(NamedTuple):
    """The constants of the timing model; docs/timing_model.md says where each is from."""

    command_cycles: float = 2080.0
    """Fitted. Each command costs so many cycles that do not depend on its size: its descriptor is
    read, the slices are set up, the pipeline fills and drains."""
    multiply_cycles: float = 1.242
    """Fitted. Each step of 32 x 4 multiplications takes so many cycles, 1 of which is the peak."""
    exchange: float = 0.465
    """Fitted. The part by which data that another PE of a fused device holds slows a command."""
    rearrange_bytes_per_cycle: float = 6.03
    """Fitted. How fast values are joined or cut apart, along channels, by a Concat or a Split. One
    engine of the device does it, however many PEs there are."""
    fetch_bytes_per_cycle: float = 16.0
    """Design: `fetch_network_width`. A line of values is fetched for each row of a filter; its
    taps shift what is there. What was fetched is multiplied by 4 filters at a time."""
    line: int = 32
    """Design: `mac_width`, the multipliers that work on one line along the width of an image."""
    tile_filters: int = 4
    """Design: `mac_height`. The smallest tile of a command is a line of results of so many."""
    slice_bytes_per_cycle: float = 8.0
    """Design: `sram_access_width`, what each slice reads from its SRAM."""
    concat_share: int = 4
    """Chosen. What a Concat joins is computed by the slices that hold its channels of the result,
    its share of all of them, but by one in so many at least."""
    table_commands: int = 2
    """Chosen. A function of values, as activations are, is so many commands: for SiLU, a look-up
    of the sigmoid and a product."""
    dram_efficiency: float = 0.8
    """Usual. The part of the bandwidth of DRAM that streams of weights get."""
    streaming_share: float = 1 / 16
    """Chosen. The part of SRAM through which passes what does not fit: weights, and what values of
    theirs are in DRAM."""
    command_bytes: int = 512
    """Assumed: the instructions of one command."""


PARAMETERS = Parameters()
"""Those of the Warboy."""

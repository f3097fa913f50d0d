"""The devices that a model can be compiled for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A device, as the cost model and the timing model see it."""

    name: str
    """Such as `warboy`: the value of the provider option `target`."""
    pes: int = 1
    """How many processing elements work together."""
    clock_hz: float = 2.0e9
    macs_per_cycle: int = 64 * 128
    """Multiplications of 8-bit values, for each PE."""
    slices: int = 64
    """Pieces of a PE that multiply by themselves, each with its part of the SRAM."""
    sram_bytes: int = 16 << 20
    """For each PE."""
    dram_bytes: int = 16 << 30
    dram_bytes_per_second: float = 66.0e9
    instruction_bytes: int = 256 << 10
    """For the program that runs; a longer one is loaded in parts."""
    pcie_bytes_per_second: float = 15.75e9
    """Between host and device, in each direction."""
    owner: str = ""
    """The plugin that has given it; filled in by the plugin manager."""


WARBOY = Target("warboy")
WARBOY_2PE = Target("warboy-2pe", pes=2)
"""Both PEs of a Warboy, fused."""
TARGETS = (WARBOY, WARBOY_2PE)

"""The memory report: a page that shows what lies where in SRAM when, and what is computed."""

from furiosa_ep.estimation.memory.page import page_of

__all__ = ["page_of"]

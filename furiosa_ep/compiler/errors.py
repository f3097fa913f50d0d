"""What can go wrong between a claimed graph and its Program."""


class CompileError(ValueError):
    """A partition that cannot become a Program: what, where, and what is allowed."""


class MemoryLimit(CompileError):  # noqa: N818
    """A Program that does not fit into the memories of its target: the text, and its two parts."""

    def __init__(self, reason: str, mend: str, dram_bytes: int = 0) -> None:
        super().__init__(f"memory-limit: {reason.rstrip('.')}; {mend[:1].lower()}{mend[1:]}")
        self.reason = reason
        """What does not fit, what it needs and what there is."""
        self.mend = mend
        """What to do."""
        self.dram_bytes = dram_bytes
        """What it needs of DRAM, where that is too much."""


class InternalError(RuntimeError):
    """A lowering, a pass or the code generator broke one of its own rules: a bug, please report."""

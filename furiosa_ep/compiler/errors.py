"""What can go wrong between a claimed graph and its Program."""


class CompileError(ValueError):
    """A partition that cannot become a Program: what, where, and what is allowed."""


class InternalError(RuntimeError):
    """A lowering, a pass or the code generator broke one of its own rules: a bug, please report."""

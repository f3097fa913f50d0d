"""The function that emits each kind of operation."""

from collections.abc import Callable

from furiosa_ep.compiler.codegen.emitter import Emitter
from furiosa_ep.graph import Operation

Emit = Callable[[Operation, Emitter], None]

EMITTERS: dict[str, Emit] = {}
"""By kind; filled while the modules of this package are imported."""


def emits(*kinds: str) -> Callable[[Emit], Emit]:
    """Registers the decorated function for `kinds`."""

    def register(function: Emit) -> Emit:
        EMITTERS.update(dict.fromkeys(kinds, function))
        return function

    return register

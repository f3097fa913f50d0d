"""Code generation: from a device graph to a Program."""

from furiosa_ep.compiler.codegen.constants import Allocate
from furiosa_ep.compiler.codegen.generate import generate

__all__ = ["Allocate", "generate"]

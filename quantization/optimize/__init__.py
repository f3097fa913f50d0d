"""Graph optimisation before quantization: the same function with fewer values to quantize.

`optimize` is all that other code needs. Each rewrite is a module here with a pure function from a
model to a model; `pipeline.REWRITES` is their order.
"""

from furiosa_ep.quantization.optimize.pipeline import REWRITES, Rewrite, optimize

__all__ = ["REWRITES", "Rewrite", "optimize"]

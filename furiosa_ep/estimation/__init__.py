"""What a model would take on a real device, told without one and without running it."""

from furiosa_ep.estimation.errors import EstimateError
from furiosa_ep.estimation.estimator import estimate
from furiosa_ep.estimation.figures import Bound, Confidence, Energy, Estimate, Layer, Memory

__all__ = [
    "Bound",
    "Confidence",
    "Energy",
    "Estimate",
    "EstimateError",
    "Layer",
    "Memory",
    "estimate",
]

"""The error of this package."""


class QuantizationError(ValueError):
    """The model or its calibration data cannot be used; the message says why and what to do."""

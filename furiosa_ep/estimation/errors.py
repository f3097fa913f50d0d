"""What goes wrong when a model is estimated."""


class EstimateError(ValueError):
    """A model that cannot be estimated; the message says why and what to do."""

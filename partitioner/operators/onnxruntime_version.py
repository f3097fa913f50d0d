"""The installed ONNX Runtime, whose CPU kernels define the results."""

import functools


@functools.cache
def older_than(major: int, minor: int) -> bool:
    """Whether the installed ONNX Runtime is older than version `major`.`minor`."""
    import onnxruntime  # Nothing else in this package needs it.

    installed = onnxruntime.__version__.split(".")
    return (int(installed[0]), int(installed[1])) < (major, minor)

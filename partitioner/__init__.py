"""Which parts of an ONNX graph the NPU takes, and why not the others."""

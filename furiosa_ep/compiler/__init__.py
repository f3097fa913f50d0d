"""The compiler: from the ONNX graph of a partition to a Program."""

"""FuriosaProvider: the adapter between ONNX Runtime and the device."""

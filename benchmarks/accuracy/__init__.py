"""What quantization costs in accuracy, beside ONNX Runtime's own quantizer."""

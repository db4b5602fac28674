"""ONNX: a rule for each operation, and the layout of images."""

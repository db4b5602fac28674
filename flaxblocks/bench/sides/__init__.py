"""The contestants: flaxblocks, JAX's own convolutions, PyTorch, ONNX Runtime."""

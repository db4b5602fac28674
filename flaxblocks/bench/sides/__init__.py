"""Who is timed: flaxblocks, JAX's own convolutions, PyTorch, ONNX Runtime."""

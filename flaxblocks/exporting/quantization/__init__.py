"""Post-training quantization: a network in integers of 8 bits, as JAX and ONNX Runtime run it."""

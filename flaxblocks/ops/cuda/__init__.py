"""CUDA kernels that XLA launches on NVIDIA GPUs."""

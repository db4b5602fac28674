"""C++ kernels that XLA calls on CPU, inside ``ops.convolution("native")``."""

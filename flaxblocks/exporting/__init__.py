"""Trained models for other runtimes: StableHLO, ONNX, LiteRT and PyTorch."""

from flaxblocks.exporting.artifact import Exported as Exported
from flaxblocks.exporting.artifact import export as export
from flaxblocks.exporting.artifact import load_exported as load_exported
from flaxblocks.exporting.quantization.door import quantize as quantize
from flaxblocks.exporting.quantization.quantized import Quantized as Quantized
from flaxblocks.exporting.verify import Verification as Verification
from flaxblocks.exporting.verify import verify_exported as verify_exported

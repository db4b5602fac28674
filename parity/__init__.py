"""Runs a PyTorch module and a Flax module side by side and reports where they differ."""

from parity.compare import CHECKS as CHECKS
from parity.compare import compare as compare
from parity.report import Report as Report
from parity.report import Row as Row

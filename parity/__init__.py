"""Runs a PyTorch module and a Flax module side by side and reports where they differ."""

from parity.compare import CHECKS as CHECKS
from parity.compare import compare as compare
from parity.report.rows import Report as Report
from parity.report.rows import Row as Row

"""Where the result files are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def newest(pattern: str) -> Path:
    """Return the newest result file of those that match; their names end with the date."""
    return max((ROOT / "benchmarks").glob(pattern))

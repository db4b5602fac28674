"""What is tested here is what the code does, not how float32 rounds."""

import pytest


@pytest.fixture(autouse=True)
def _quick_compilation(quick):
    """Compile quickly."""

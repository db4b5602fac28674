"""``python -m flaxblocks``."""

import sys

from flaxblocks.cli import main

sys.exit(main())

"""``python -m flaxblocks.bench``."""

import sys

from flaxblocks.bench.command import main

sys.exit(main())

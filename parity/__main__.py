"""``python -m parity``."""

import sys

from parity.command import main

sys.exit(main())

"""``python -m flaxblocks.bench``: the subcommand ``flaxblocks bench``."""

import sys

from flaxblocks.cli import main

sys.exit(main(["bench", *sys.argv[1:]]))

"""The command line: ``flaxblocks``, one file for each subcommand."""

from flaxblocks.cli.commands import main as main

"""The options by which several processes find each other."""

import argparse

from flaxblocks._base.command_line import natural, positive


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--distributed``, and what it finds by itself."""
    group = parser.add_argument_group(
        "several processes", "Each is started with the same command, and they share --out."
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="one of several processes, which find each other under SLURM, Open MPI, Kubernetes "
        "and on Cloud TPU; elsewhere the three other options say where and which",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of the first process")
    group.add_argument("--process-id", type=natural, metavar="N", help="which one this is, from 0")
    group.add_argument("--num-processes", type=positive, metavar="N", help="how many there are")


def join_processes(options: argparse.Namespace) -> None:
    """Wait for the other processes, where there are any.

    Raises:
        RuntimeError: if they do not come.
        ValueError: if the options do not say enough.
    """
    given = (options.coordinator, options.num_processes, options.process_id)
    if given == (None, None, None):
        if not options.distributed:
            return
    elif None in given:
        raise ValueError(
            "give `coordinator`, `num_processes` and `process_id` together, or none of them"
        )
    elif options.process_id >= options.num_processes:
        raise ValueError(
            f"`process_id` must be below {options.num_processes}, got {options.process_id}"
        )
    import jax

    try:
        jax.distributed.initialize(*given)
    except ValueError as error:
        raise ValueError(
            "`distributed` finds no other processes: give `coordinator`, `num_processes` and "
            f"`process_id` ({error})"
        ) from error

"""The command ``python -m parity``, and ``flaxblocks parity``: its options."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from flaxblocks._base.command_line import check_writable, nearest, run_program

DESCRIPTION = "Check that JAX modules are the same functions as their PyTorch counterparts."

FLOAT64_CHECKS = ("names", "float64", "gradients", "statistics", "trajectory")
FLOAT32_CHECKS = ("names", "bitwise", "float32")
ALL_CHECKS = ("names", "bitwise", "float64", "float32", "gradients", "statistics", "trajectory")
DTYPES = {"both": ALL_CHECKS, "float64": FLOAT64_CHECKS, "float32": FLOAT32_CHECKS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 where all is equal, 1 where something differs, 2 for bad input."""
    return run_program("python -m parity", DESCRIPTION, add_arguments, run, arguments)


def run(options: argparse.Namespace) -> int:
    """Compare, print, and write what was asked for; return 0, or 1 where something differs."""
    checks = _checks(options)
    for name in ("names", "input", "weights", "to_port"):
        if options.pair is None and getattr(options, name) not in (None, "native"):
            raise ValueError(f"`--{name.replace('_', '-')}` needs `--pair`")
    if (options.from_port is None) != (options.convert is None):
        raise ValueError("`--from-port` and `--convert` need each other")
    if options.convert is not None:
        from parity.conversion import convert

        print(convert(options.from_port, *options.convert))
        return 0
    check_writable(options.json, options.report, options.to_port)
    from parity import run_suite

    return run_suite(options, checks)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "--blocks",
        nargs="+",
        metavar="PATTERN",
        help="blocks by name or pattern: MBConv, 'MBConv*' with variants, '*' for all "
        "(default: the tutorial's blocks)",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="PATTERN",
        help="networks by name or pattern, against torchvision's and timm's own: resnet18, "
        "'efficientnet*'; of the largest only names and shapes",
    )
    parser.add_argument("--all", action="store_true", help="every block and every network")
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar=("TORCH", "JAX"),
        help="your own modules, each by a function without arguments that returns what "
        "`parity.compare` takes: pkg.mod:function",
    )
    parser.add_argument(
        "--input", metavar="FUNCTION", help="--pair's input, by a function: pkg.mod:function"
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, help="--pair's weights, a checkpoint of PyTorch's"
    )
    parser.add_argument(
        "--to-port",
        metavar="FILE",
        type=Path,
        help="write, as JSON, how PyTorch's tensors become those of --pair's port",
    )
    parser.add_argument(
        "--from-port", metavar="FILE", type=Path, help="what --to-port wrote, for --convert"
    )
    parser.add_argument(
        "--convert",
        nargs=2,
        type=Path,
        metavar=("IN", "OUT.safetensors"),
        help="write a checkpoint of PyTorch's as the port's, and print what does so without us",
    )
    parser.add_argument(
        "--names",
        metavar="FILE",
        default="native",
        help="of --pair's tensors: 'native' (the same on both sides), 'found', which prints them, "
        "or a JSON file, which is written with the names that are found where there is none, and "
        "there is one (default: native)",
    )
    parser.add_argument(
        "--checks",
        nargs="+",
        metavar="CHECK",
        help=f"some of {', '.join(ALL_CHECKS)} (default: all)",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="both", help="precision to check in")
    parser.add_argument(
        "--image", metavar="PATH", help="a photograph, or a .npy array (n, h, w, c), as input"
    )
    parser.add_argument(
        "--size",
        type=int,
        default=33,
        help="height of --pair's input, two pixels wider (default: 33)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and random inputs")
    parser.add_argument("--json", metavar="PATH", type=Path, help="write every row as JSON")
    parser.add_argument("--report", metavar="DIR", type=Path, help="write an HTML page with plots")


def _checks(options: argparse.Namespace) -> tuple[str, ...]:
    possible = DTYPES[options.dtype]
    if options.checks is None:
        return possible
    wanted = split(options.checks)
    for check in wanted:
        if check not in possible:
            raise ValueError(
                f"`--checks` must be among {', '.join(possible)} with --dtype {options.dtype}, "
                f"got {check!r}{nearest(check, possible)}"
            )
    return wanted


def split(values: Sequence[str]) -> tuple[str, ...]:
    """Return the values of an option, which commas may separate too."""
    return tuple(part for value in values for part in value.split(",") if part)

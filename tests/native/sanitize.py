"""Run the native kernels under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer.

``python tests/native/sanitize.py`` runs all kernels on several threads under each, and then their
tests in pytest under the first two. ``--short`` runs one fused kernel, which has most of the code.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from flaxblocks.ops.native import compiling

ROOT = Path(__file__).parents[2]
SANITIZERS = {
    "address and undefined behavior": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "threads": ("-fsanitize=thread",),
}
# Optimized a little: sanitized code without it is slow to run, and with more slow to compile.
OPTIONS = ("-O1", "-g1", "-std=c++17", "-Wno-psabi")
# AddressSanitizer ends a process that runs out of memory.
SELECTED = "native and not memory"
TESTS = (
    "tests/ops/test_native.py",
    "tests/ops/test_native_float32.py",
    "tests/ops/test_native_handlers.py",
    "tests/ops/test_batch_normalize.py",
    "tests/ops/test_max_pool.py",
    "tests/inference",
)


def main() -> None:
    """Compile and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one kernel, and no tests")
    short = parser.parse_args().short
    with tempfile.TemporaryDirectory() as folder:
        for name, options in SANITIZERS.items():
            print(f"+ {name}", flush=True)
            run_program(Path(folder) / "program", options, short)
        if not short:
            print("+ the tests", flush=True)
            run_tests(Path(folder), SANITIZERS["address and undefined behavior"])


def run_program(path: Path, options: tuple[str, ...], short: bool) -> None:
    """Run the program that calls the kernels on several threads."""
    level = compiling.supported()[0]
    include = ("-isystem", compiling.headers(), "-I", str(compiling.SOURCES))
    define = ("-DFLAXBLOCKS_SHORT", "-O0") if short else ()
    source = str(ROOT / "tests" / "native" / "sanitized.cc")
    command = (*compiling.find_compiler(), *OPTIONS, *level.flags, *options, *include, *define)
    subprocess.run([*command, source, "-o", str(path), "-pthread", "-lstdc++", "-lm"], check=True)
    subprocess.run([str(path)], check=True)


def run_tests(folder: Path, options: tuple[str, ...]) -> None:
    """Run the kernels' tests, with kernels that are compiled with these options."""
    compiler = compiling.find_compiler()
    level = compiling.supported()[0]
    (path,) = compiling.compile_libraries(compiler, [level], folder, (*OPTIONS, *options))
    libraries = [
        subprocess.run(
            [*compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own leaks are many
    }
    # The package is imported before pytest could rewrite what it imports.
    imported = "ignore::pytest.PytestAssertRewriteWarning"
    arguments = ["-n", "0", "-q", "-W", imported, *TESTS, "-k", SELECTED]
    code = (
        "import pytest; from pathlib import Path; from flaxblocks.ops.native import build; "
        f"build.PACKAGE = Path({str(path.parent)!r}); raise SystemExit(pytest.main({arguments!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)


if __name__ == "__main__":
    main()

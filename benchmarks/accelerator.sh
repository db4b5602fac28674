#!/usr/bin/env bash
# The most telling part of the accelerator suite, in under 8 minutes on one card, as one result file
# in benchmarks/. What has not been timed by then is left out, and the file says so.
# benchmarks/accelerator.sh [--device gpu|tpu|cpu] [--quick]: what follows goes to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."

exec timeout --signal=INT --kill-after=15 460 \
  "${PYTHON:-python3}" -m flaxblocks.bench --suite accelerator-short --device gpu --seconds 1 "$@"

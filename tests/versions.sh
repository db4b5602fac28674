#!/usr/bin/env bash
# Runs the quick part of the suite on the oldest and on the newest versions that pyproject.toml allows,
# each in an environment of its own under build/versions. It needs uv (pip install uv).
#
#     tests/versions.sh [oldest] [newest]     $OLDEST_PYTHON and $NEWEST_PYTHON say with which Pythons
#
# Oldest: the lower bounds themselves. Newest: whatever is newest today.
set -euo pipefail
cd "$(dirname "$0")/.."

newest_python() {
  for version in 3.14 3.13 3.12; do
    uv python find "$version" 2> /dev/null && return
  done
  echo "there is no Python from 3.12 to 3.14: install one, or name it in \$NEWEST_PYTHON" >&2
  return 1
}

[ $# -gt 0 ] || set -- oldest newest
for which in "$@"; do
  case $which in
    oldest) python=${OLDEST_PYTHON:-3.11} resolution=lowest-direct ;;
    newest) python=${NEWEST_PYTHON:-$(newest_python)} resolution=highest ;;
    *) echo "a set is oldest or newest, got $which" >&2; exit 2 ;;
  esac
  folder=build/versions/$which
  uv venv -q --clear --python "$python" "$folder"
  uv pip install -q --python "$folder" --resolution "$resolution" -e '.[test]'
  "$folder/bin/python" -VV
  uv pip list -q --python "$folder" |
    grep -E '^(jax|jaxlib|flax|optax|numpy|torch|torchvision|timm|safetensors) '
  "$folder/bin/python" -m pytest -q @tests/quick.txt
done

#!/usr/bin/env bash
# What a GPU does, measured in one go: correctness, full-size SEEM and SAM, speed and memory (see gpu.py).
#
#   benchmarks/gpu.sh OUT [--seconds 150] [other flags of gpu.py]
#
# OUT gets gpu.json and gpu.md. PYTHON chooses the interpreter. Where WHEELS names a folder of wheels, what is missing of
# the package's own requirements is installed from there, without a network, beside the interpreter's own packages.
set -euo pipefail
out=${1:?say where the results go: benchmarks/gpu.sh OUT}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
mkdir -p "$out"
export PYTHONPATH="$root/src:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
for module in ${WHEELS:+safetensors tokenizers scipy pycocotools typer rich}; do
    "$python" -c "import $module" 2>/dev/null || missing="${missing:-} $module"
done
if [[ -n ${missing:-} ]]; then
    # shellcheck disable=SC2086 -- a list of names
    "$python" -m pip install -q --no-index --no-deps --no-compile --find-links "$WHEELS" --target "$out/site" $missing
    export PYTHONPATH="$PYTHONPATH:$out/site"
fi
exec "$python" "$root/benchmarks/gpu.py" --out "$out" "$@"

#!/usr/bin/env bash
# Runs lgbench and its peers interleaved on this machine and prints a table of median ratios.
#
# Usage: perf/compare.sh [--rounds N] [--seconds S] [--large] [--results FOLDER]
#   --rounds N    rounds of lgbench, MyGrad, NumPy, C in turn (default 5)
#   --seconds S   sampling time per case and round (default 1)
#   --large       RNN preset L too
#   --results F   where the JSON file and latest.md go (default perf/results)
# LGBENCH=FILE measures that binary instead of building one. Needs python3 with venv; the first run
# installs mygrad and numpy into .build/peers-venv. The C peers run if there is a gcc.
# Exits with 1 if the losses of two peers differ.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5
seconds=1
presets="S M"
results=perf/results
fail() {
  echo "compare: $1" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
  --rounds | --seconds | --results)
    [ $# -ge 2 ] || fail "$1 needs a value"
    printf -v "${1#--}" '%s' "$2"
    shift 2
    ;;
  --large)
    presets="S M L"
    shift
    ;;
  *) fail "unknown option $1 (see the head of perf/compare.sh)" ;;
  esac
done
case $rounds in '' | *[!0-9]* | 0) fail "--rounds: expected a positive number, got $rounds" ;; esac
case $seconds in '' | *[!0-9.]* | 0) fail "--seconds: expected a positive number, got $seconds" ;; esac
command -v python3 >/dev/null || fail "python3 is needed for the peers"

work=.build/peers
venv=.build/peers-venv
mkdir -p "$work"
rm -f "$work"/round-*.jsonl

# --- Build -------------------------------------------------------------------------------------
if [ ! -f "$venv/ready" ]; then
  echo "compare: installing MyGrad and NumPy into $venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check mygrad==2.5.0 numpy==2.4.6
  touch "$venv/ready"
fi
python="$venv/bin/python -B"

lgbench=${LGBENCH:-}
if [ -z "$lgbench" ]; then
  swift build -c release --product lgbench
  lgbench=$(swift build -c release --show-bin-path)/lgbench
fi

cc=none
if command -v gcc >/dev/null; then
  cc=$(gcc --version | head -n 1)
  flags="-O3 -march=native -ffast-math -fopenmp-simd"
  if grep -q avx512f /proc/cpuinfo 2>/dev/null; then flags="$flags -mprefer-vector-width=512"; fi
  gcc $flags perf/peers/rnn.c -o "$work/rnn" -lm
  gcc $flags perf/peers/ew.c -o "$work/ew" -lm
  [ -f "$work/data/ew_10000000.bin" ] || $python perf/peers/gen_data.py "$work/data"
fi

# --- Machine -----------------------------------------------------------------------------------
if [ -r /proc/cpuinfo ]; then
  cpu=$(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)
  cores=$(getconf _NPROCESSORS_ONLN)
else
  cpu=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || true)
  cores=$(sysctl -n hw.ncpu 2>/dev/null || echo 1)
fi
commit=$(git rev-parse --short HEAD 2>/dev/null || echo none)
[ -z "$(git status --porcelain -- Sources 2>/dev/null)" ] || commit="$commit with local changes"
CPU=${cpu:-unknown} CORES=$cores OS="$(uname -sm)" CC=$cc COMMIT=$commit SECONDS_PER_CASE=$seconds \
  SWIFT="$(swift --version 2>/dev/null | head -n 1)" $python - >"$work/machine.json" <<'PY'
import json, os, platform
e = os.environ
print(json.dumps({"cpu": e["CPU"], "cores": int(e["CORES"]), "os": e["OS"], "swift": e["SWIFT"],
                  "cc": e["CC"], "python": platform.python_version(), "commit": e["COMMIT"],
                  "seconds": float(e["SECONDS_PER_CASE"])}))
PY

# --- Rounds ------------------------------------------------------------------------------------
# One thread everywhere: the peers' BLAS included.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 LAZYGRAD_THREADS=1
peer() { $python "perf/peers/bench_$1.py" "$2" --mode "$3" --cases "$4" --seconds "$seconds"; }

# lgbench's JSON object as one line; its budget is for a whole command.
ours() {
  local cases=$1
  shift
  "$lgbench" "$@" --threads 1 --seconds "$(awk "BEGIN { print $cases * $seconds }")" --quiet \
    --json "$work/lgbench.json" >/dev/null
  tr -d '\n' <"$work/lgbench.json"
  echo
}

for round in $(seq 1 "$rounds"); do
  echo "compare: round $round of $rounds"
  {
    for preset in $presets; do
      ours 1 rnn --preset "$preset" --pass train --modes guard
      peer mygrad W1 guard "$preset" | grep '"train"'
      peer numpy W1 manual "$preset" | grep '"train"'
      peer numpy W1 batched "$preset" | grep '"train"'
      if [ "$cc" != none ]; then
        "$work/rnn" "$preset" "$work/data/rnn_$preset.bin" "$seconds" | grep '"train"'
      fi
    done
    ours 6 chain
    peer mygrad W2 guard 10000000
    peer numpy W2 manual 10000000
    if [ "$cc" != none ]; then "$work/ew" "$work/data" "$seconds" 10000000; fi
  } >"$work/round-$round.jsonl"
done

$python perf/peers/summarise.py "$work" "$results"

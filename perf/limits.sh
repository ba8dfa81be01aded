#!/usr/bin/env bash
# How far lgbench is from what this machine can do: runs it and the C programs interleaved and prints
# one line per bar. Reports only; no time is a reason to fail.
#
# Usage: perf/limits.sh [--rounds N] [--seconds S] [--isa avx2] [--json FILE]
#   --rounds N    rounds of everything in turn (default 3)
#   --seconds S   sampling time per case and round (default 0.5)
#   --isa avx2    lgbench and the C programs without AVX-512
#   --json FILE   the bars as JSON
# LGBENCH=FILE measures that binary instead of building one. Needs gcc, and python3 with venv for the
# data and the table.
set -euo pipefail
cd "$(dirname "$0")/.."

script=limits
rounds=3
seconds=0.5
isa=
json=
fail() {
  echo "limits: $1" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
  --rounds | --seconds | --isa | --json)
    [ $# -ge 2 ] || fail "$1 needs a value"
    printf -v "${1#--}" '%s' "$2"
    shift 2
    ;;
  *) fail "unknown option $1 (see the head of perf/limits.sh)" ;;
  esac
done
case $isa in '' | avx2) ;; *) fail "--isa: expected avx2, got $isa" ;; esac
command -v gcc >/dev/null || fail "gcc is needed for the C programs"
. perf/peers/setup.sh
rm -f "$work"/limits-*.jsonl

large=512x512x512,1024x1024x1024,2048x2048x2048
for round in $(seq 1 "$rounds"); do
  echo "limits: round $round of $rounds"
  {
    "$work/peak" multiply_add
    ours 1 7 matmul --cases "16x16x16,32x32x32,64x64x64,256x256x256,$large"
    if [ "$cores" -ge 2 ]; then ours 2 3 matmul --cases "$large"; fi
    ours 1 1 mlp
    "$work/peak" multiply_add
    ours 1 1 rnn --preset M --pass train --modes guard
    "$work/rnn" M "$data/rnn_M.bin" "$seconds" | grep blocked
    ours 1 4 chain --cases 1000,10000000
    "$work/ew" "$data" "$seconds" 10000000
    "$work/ew" "$data" "$seconds" 1000
    ours 1 4 reduce
    "$work/reduce" "$seconds"
  } >"$work/limits-$round.jsonl"
done

$python perf/peers/limits.py "$work" ${json:+"$json"}

#!/usr/bin/env bash
# Runs lgbench and its peers interleaved on this machine and prints a table of median ratios.
#
# Usage: perf/compare.sh [--rounds N] [--seconds S] [--large] [--workloads LIST] [--results FOLDER]
#   --rounds N        rounds of lgbench, MyGrad, NumPy, C in turn (default 5)
#   --seconds S       sampling time per case and round (default 1)
#   --large           RNN preset L too
#   --workloads LIST  some of W1,W2,W3,W4,W6 (default W1,W2); W3 shows percent of the machine's peak
#   --results F       where the JSON file and latest.md go (default perf/results)
# LGBENCH=FILE measures that binary instead of building one. Needs python3 with venv; the first run
# installs mygrad and numpy into .build/peers-venv. The C peers run if there is a gcc.
# Exits with 1 if the losses of two peers differ.
set -euo pipefail
cd "$(dirname "$0")/.."

script=compare
rounds=5
seconds=1
isa=
presets="S M"
workloads="W1,W2"
results=perf/results
fail() {
  echo "compare: $1" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
  --rounds | --seconds | --workloads | --results)
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
for workload in ${workloads//,/ }; do
  case $workload in
  W1 | W2 | W3 | W4 | W6) ;;
  *) fail "--workloads: expected some of W1,W2,W3,W4,W6, got $workload" ;;
  esac
done
. perf/peers/setup.sh
rm -f "$work"/round-*.jsonl

peer() { $python "perf/peers/bench_$1.py" "$2" --mode "$3" --cases "$4" --seconds "$seconds"; }
# A C program, if there are any.
c() { if [ "$cc" != none ]; then "$work/$1" "${@:2}"; fi; }
chosen() { case ",$workloads," in *",$1,"*) ;; *) return 1 ;; esac; }

for round in $(seq 1 "$rounds"); do
  echo "compare: round $round of $rounds"
  {
    if chosen W1; then
      for preset in $presets; do
        ours 1 1 rnn --preset "$preset" --pass train --modes guard
        peer mygrad W1 guard "$preset" | grep '"train"'
        peer numpy W1 manual "$preset" | grep '"train"'
        peer numpy W1 batched "$preset" | grep '"train"'
        c rnn "$preset" "$data/rnn_$preset.bin" "$seconds" | { grep '"train"' || true; }
      done
    fi
    if chosen W2; then
      ours 1 2 chain --cases 10000000
      peer mygrad W2 guard 10000000
      peer numpy W2 manual 10000000
      c ew "$data" "$seconds" 10000000
    fi
    if chosen W3; then
      c peak multiply_add
      ours 1 10 matmul
      peer numpy W3 manual ""
    fi
    if chosen W4; then
      ours 1 1 mlp
      peer mygrad W4 guard ""
      peer numpy W4 manual ""
    fi
    if chosen W6; then
      ours 1 4 reduce
      peer numpy W6 manual ""
      c reduce "$seconds"
    fi
  } >"$work/round-$round.jsonl"
done

$python perf/peers/summarise.py "$work" "$results"

#!/usr/bin/env bash
# The bits of a fixed set of programs on each instruction set: runs BitsProgram on all that this machine has,
# and says which programs' checksums are others than in perf/results/bits.md.
#
# Usage: perf/bits.sh [--arm64 DIR] [--write]
#   --arm64 DIR   emulated arm64 as well: what perf/check-arm64 --dir DIR makes
#   --write       writes the table anew instead of comparing with it
# Ends with 1 where a checksum differs, or where instruction sets that should have the same bits have not.
set -euo pipefail
cd "$(dirname "$0")/.."
table=perf/results/bits.md
arm64=
write=
while [ $# -gt 0 ]; do
  case $1 in
  --arm64)
    [ $# -ge 2 ] || { echo "bits: --arm64 needs a value" >&2; exit 2; }
    arm64=$2
    shift 2
    ;;
  --write)
    write=1
    shift
    ;;
  *)
    echo "bits: unknown option $1 (see the head of perf/bits.sh)" >&2
    exit 2
    ;;
  esac
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

swift build -c release --product BitsProgram >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
program=$(swift build -c release --show-bin-path)/BitsProgram
for set in portable avx2 avx512; do
  LAZYGRAD_ISA=$set "$program" >"$work/$set" 2>"$work/$set.log"
  # One that the machine has not is said on standard error, and another one has run.
  if [ -s "$work/$set.log" ]; then rm "$work/$set"; fi
done
if [ -n "$arm64" ]; then
  for set in portable neon; do
    LAZYGRAD_ISA=$set perf/check-arm64 --dir "$arm64" --run BitsProgram >"$work/out"
    awk -F'\t' 'NF == 2' "$work/out" >"$work/arm64-$set"
  done
fi

# Programs down, instruction sets across, in the order of the files.
runs=()
for run in portable avx2 avx512 arm64-portable arm64-neon; do if [ -e "$work/$run" ]; then runs+=("$work/$run"); fi; done
awk -F'\t' '
  FNR == 1 { sets[++n] = $2; next }
  { if (n == 1) names[++rows] = $1; sums[$1, n] = $2 }
  END {
    line = "| program |"; rule = "|---|"
    for (s = 1; s <= n; s++) { line = line " " sets[s] " |"; rule = rule "---|" }
    print line; print rule
    for (r = 1; r <= rows; r++) {
      line = "| " names[r] " |"
      for (s = 1; s <= n; s++) line = line " `" sums[names[r], s] "` |"
      print line
    }
  }' "${runs[@]}" >"$work/table"

# Sets that round a multiplication and an addition once have the same bits: all but the portable one of x86-64.
status=0
awk -F'|' 'NR == 1 { for (i = 3; i < NF; i++) once[i] = $i !~ /x86-64 portable/; next }
  # What the C library has computed has its bits.
  NR > 2 && !/\(C library\)/ {
    first = ""
    for (i = 3; i < NF; i++) if (once[i]) {
      if (first == "") first = $i
      else if ($i != first) { print "bits: not the same on all sets that round once:" $2; bad = 1; next }
    }
  }
  END { exit bad }' "$work/table" || status=1

if [ -n "$write" ]; then
  sed '/^|/,$d' "$table" >"$work/head"
  cat "$work/head" "$work/table" >"$table"
  echo "bits: $(($(wc -l <"$work/table") - 2)) programs on ${#runs[@]} instruction sets in $table"
else
  awk -F'|' '
    function trimmed(text) { gsub(/^ +| +$/, "", text); return text }
    !/^\|/ { next }
    FNR == NR && /^\| program/ { for (i = 3; i < NF; i++) known[i] = trimmed($i); next }
    FNR == NR { for (i = 3; i < NF; i++) sums[trimmed($2), known[i]] = trimmed($i); next }
    /^\| program/ { for (i = 3; i < NF; i++) set[i] = trimmed($i); next }
    /^\|-/ { next }
    {
      for (i = 3; i < NF; i++) {
        key = trimmed($2) SUBSEP set[i]
        if (sums[key] == "not run") continue
        if (sums[key] != trimmed($i)) {
          print "bits: " trimmed($2) ", " set[i] ": expected " sums[key] ", got " trimmed($i)
          bad = 1
        } else good++
      }
    }
    END { print "bits: " good + 0 " checksums are those of the table"; exit bad }
  ' "$table" "$work/table" || status=1
fi
exit $status

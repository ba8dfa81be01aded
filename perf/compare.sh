#!/usr/bin/env bash
# Runs lgbench and its peers interleaved on this machine and writes the results as JSON, as tables of
# medians and ratios and as charts.
#
# Usage: perf/compare.sh [--rounds N] [--seconds S] [--workloads LIST] [--presets LIST]
#                        [--install LIST] [--without LIST] [--core N] [--limit S] [--results FOLDER]
#                        [--readme]
#   --rounds N        rounds of lgbench and every peer in turn (default 5)
#   --seconds S       sampling time per case and round (default 1)
#   --workloads LIST  some of W1,W2,W3,W4,W5,W6,W7 (default all); perf/peers/README.md has them
#   --presets LIST    sizes of W1, some of S,M,L (default all)
#   --install LIST    install these peers first, each into its own environment below .build: some of
#                     autograd,torch,jax,dynet,drjit, or all
#   --without LIST    leave these peers out, though they are installed
#   --core N          the core that everything runs on (default the last; needs taskset)
#   --limit S         seconds after which a peer's program is ended and left out (default 300)
#   --results F       where the JSON file, latest.md and the charts go (default perf/results)
#   --readme          put the results into README.md too, unless the machine was busy
# LGBENCH=FILE measures that binary instead of building one. Needs python3 with venv; the first run
# installs mygrad and numpy. Whatever peers have been installed run; the C programs if there is a gcc.
# Exits with 1 if the losses or the gradients of two peers differ. No time is a reason to fail.
set -euo pipefail
cd "$(dirname "$0")/.."

script=compare
rounds=5
seconds=1
isa=
workloads=W1,W2,W3,W4,W5,W6,W7
presets=S,M,L
install=
without=
core=
limit=300
results=perf/results
readme=
fail() {
  echo "compare: $1" >&2
  exit 2
}
# one_of OPTION LIST NAME...: every element of the list is a name.
one_of() {
  local option=$1 list=$2 element
  shift 2
  for element in ${list//,/ }; do
    case " $* " in *" $element "*) ;; *) fail "--$option: expected some of $*, got $element" ;; esac
  done
}
while [ $# -gt 0 ]; do
  case $1 in
  --rounds | --seconds | --workloads | --presets | --install | --without | --core | --limit | --results)
    [ $# -ge 2 ] || fail "$1 needs a value"
    printf -v "${1#--}" '%s' "$2"
    shift 2
    ;;
  --readme)
    readme=README.md
    shift
    ;;
  *) fail "unknown option $1 (see the head of perf/compare.sh)" ;;
  esac
done
one_of workloads "$workloads" W1 W2 W3 W4 W5 W6 W7
one_of presets "$presets" S M L
others="autograd torch jax dynet drjit"
[ "$install" != all ] || install=${others// /,}
# Names of peers are words.
# shellcheck disable=SC2086
one_of install "$install" mygrad numpy $others
# shellcheck disable=SC2086
one_of without "$without" mygrad numpy $others
case $limit in '' | *[!0-9]* | 0) fail "--limit: expected a positive number, got $limit" ;; esac
. perf/peers/setup.sh
rm -f "$work"/round-*.jsonl

for name in ${install//,/ }; do add_peer "$name"; done
peers=()
for name in numpy $others; do
  [ -f "$venv-$name/ready" ] || continue
  peers+=("$name=$venv-$name/bin/python")
  if [ "$name" = numpy ]; then peers+=("mygrad=$venv-$name/bin/python"); fi
done
for name in ${without//,/ }; do
  for i in "${!peers[@]}"; do case ${peers[$i]} in "$name="*) unset "peers[$i]" ;; esac; done
done

if ! command -v taskset >/dev/null; then
  core=
elif [ -z "$core" ]; then
  core=$(sed -n 's/^Cpus_allowed_list:.*[^0-9]\([0-9]*\)$/\1/p' /proc/self/status)
fi

# What the peers compile is kept from round to round, but not from run to run.
rm -rf "$work/cache"
mkdir -p "$work/cache/home"
export TORCHINDUCTOR_CACHE_DIR=$PWD/$work/cache/torch TORCHINDUCTOR_COMPILE_THREADS=1
HOME=$PWD/$work/cache/home $python perf/peers/run.py --work "$work" --data "$data" --lgbench "$lgbench" \
  --workloads "$workloads" --presets "$presets" --rounds "$rounds" --seconds "$seconds" \
  --limit "$limit" --core "$core" $([ "$cc" = none ] || echo --c) "${peers[@]}"
status=0
$python perf/peers/summarise.py "$work" "$results" || status=$?
if [ -n "$readme" ] && [ "$status" -eq 0 ]; then
  name=$(sed -n 's/^Numbers: `\([^`]*\)`.*/\1/p' "$results/latest.md")
  $python perf/peers/readme.py "$results/$name" "$readme"
fi
exit "$status"

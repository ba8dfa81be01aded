# What perf/compare.sh and perf/limits.sh have in common; they source it after reading their options.
# Expects `script` (its name), `rounds`, `seconds` and `isa` (empty, or avx2), checks them, builds
# everything and sets `work`, `python`, `lgbench`, `cc` (none: there are no C peers) and `cores`.
# shellcheck shell=bash disable=SC2034,SC2154

case $rounds in '' | *[!0-9]* | 0) fail "--rounds: expected a positive number, got $rounds" ;; esac
case $seconds in '' | *[!0-9.]* | 0) fail "--seconds: expected a positive number, got $seconds" ;; esac
command -v python3 >/dev/null || fail "python3 is needed for the peers"

work=.build/peers${isa:+-$isa}
data=.build/peers/data
venv=$PWD/.build/peers-venv
mkdir -p "$work"

# install_peer NAME PACKAGE...: an environment of its own below .build; `ready` says that it works.
install_peer() {
  local name=$1 folder=$venv-$1 log=$work/install-$1.log
  shift
  [ ! -f "$folder/ready" ] || return 0
  echo "$script: installing $* into $folder"
  if python3 -m venv "$folder" >"$log" 2>&1 &&
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >>"$log" 2>&1 &&
    "$folder/bin/python" -c "$(peer_check "$name")" >>"$log" 2>&1; then
    touch "$folder/ready"
  else
    echo "$script: $name can't be used here and is left out: $(tail -n 1 "$log")"
  fi
}

# Versions are pinned, so that results of two days can be compared.
add_peer() {
  case $1 in
  mygrad | numpy) install_peer numpy mygrad==2.5.0 numpy==2.4.6 ;;
  autograd) install_peer autograd autograd==1.9.1 numpy==2.4.6 ;;
  torch) install_peer torch torch==2.13.0 numpy==2.4.6 ;;
  jax) install_peer jax jax==0.10.2 numpy==2.4.6 ;;
  dynet) install_peer dynet dyNET38==2.2 numpy==1.26.4 ;;
  drjit) install_peer drjit drjit==1.5.0 numpy==2.4.6 ;;
  esac
}

# A line of Python that fails if a peer is there but can't compute.
peer_check() {
  case $1 in
  numpy) echo "import mygrad" ;;
  drjit) echo "from drjit.llvm.ad import Float; assert (Float(1) + 1)[0] == 2" ;;
  *) echo "import $1" ;;
  esac
}

add_peer numpy
[ -f "$venv-numpy/ready" ] || fail "MyGrad and NumPy are needed"
python="$venv-numpy/bin/python -B"

lgbench=${LGBENCH:-}
if [ -z "$lgbench" ]; then
  swift build -c release --product lgbench
  lgbench=$(swift build -c release --show-bin-path)/lgbench
fi

cc=none
if command -v gcc >/dev/null; then
  cc=$(gcc --version | head -n 1)
  native="-march=native"
  if [ "$isa" = avx2 ]; then
    native="-march=native -mavx2 -mfma -mno-avx512f"
  elif grep -q avx512f /proc/cpuinfo 2>/dev/null; then
    native="-march=native -mprefer-vector-width=512"
  fi
  for program in rnn ew reduce; do
    gcc -O3 $native -ffast-math -fopenmp-simd "perf/peers/$program.c" -o "$work/$program" -lm
  done
  gcc -O3 $native -ffp-contract=fast perf/peers/peak.c -o "$work/peak"
  [ -f "$data/ew_10000000.bin" ] || $python perf/peers/gen_data.py "$data"
fi

if [ -r /proc/cpuinfo ]; then
  cpu=$(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)
  cores=$(getconf _NPROCESSORS_ONLN)
else
  cpu=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || true)
  cores=$(sysctl -n hw.ncpu 2>/dev/null || echo 1)
fi
commit=$(git rev-parse --short HEAD 2>/dev/null || echo none)
[ -z "$(git status --porcelain -- Sources 2>/dev/null)" ] || commit="$commit with local changes"
load=$(uptime | sed 's/.*load average[s]*: *//')
CPU=${cpu:-unknown} LOAD=$load CORES=$cores OS="$(uname -sm)" CC=$cc COMMIT=$commit SECONDS_PER_CASE=$seconds \
  SWIFT="$(swift --version 2>/dev/null | head -n 1)" ISA=$isa $python - >"$work/machine.json" <<'PY'
import json, os, platform
e = os.environ
print(json.dumps({"cpu": e["CPU"], "cores": int(e["CORES"]), "os": e["OS"], "swift": e["SWIFT"],
                  "load": e["LOAD"], "cc": e["CC"], "python": platform.python_version(), "commit": e["COMMIT"],
                  "seconds": float(e["SECONDS_PER_CASE"]), "isa": e["ISA"]}))
PY

# One thread everywhere unless a call says otherwise: the peers' BLAS included.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 LAZYGRAD_THREADS=1

# ours THREADS CASES COMMAND...: lgbench's JSON object as one line; its budget is for all the cases
# of a command.
ours() {
  local threads=$1 cases=$2
  shift 2
  "$lgbench" "$@" ${isa:+--isa "$isa"} --threads "$threads" \
    --seconds "$(awk "BEGIN { print $cases * $seconds }")" --quiet \
    --json "$work/lgbench.json" >/dev/null
  tr -d '\n' <"$work/lgbench.json"
  echo
}

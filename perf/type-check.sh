#!/usr/bin/env bash
# How long the compiler takes to find out the types of formulas that mix tensors with numbers, as a table:
# perf/type-check.sh [build folder]. Needs LazyGrad built there (default: .build/release). Also whether it
# says what to write where a formula of another library is refused.
#
# Times are printed. What fails is counted, and so the same on a slow machine: a formula may take the type
# checker at most as many steps (solver scopes) as it makes in two thirds of a second, and a file of
# numbers without tensors exactly as many as it takes without `import LazyGrad`.
set -euo pipefail
cd "$(dirname "$0")/.."
modules=${1:-.build/release}/Modules
limit=100000
formulas=Tests/FormulaTests/Formulas.swift
numbers=Tests/FormulaTests/PlainFormulas.swift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$modules/LazyGrad.swiftmodule" ]; then
  echo "type-check: no LazyGrad in $modules: swift build -c release"
  exit 1
fi

check() { swiftc -frontend -typecheck -swift-version 6 -I "$modules" "$@"; }

# Older compilers count memory and time only.
steps=(-solver-scope-threshold=$limit)
if ! swiftc -frontend -help-hidden | grep -q solver-scope-threshold; then
  steps=(-solver-expression-time-threshold=10)
fi
if ! check "${steps[@]}" -debug-time-function-bodies "$formulas" "$numbers" 2>"$work/times"; then
  grep 'error:' "$work/times"
  echo "type-check: formulas that the compiler does not understand in $limit steps"
  exit 1
fi
# A line: milliseconds, file and place, what it is.
awk -F'\t' -v file="$formulas" '
  index($2, file) && match($3, /[A-Za-z0-9_]+\(\)@/) {
    sub(/ms$/, "", $1)
    printf "%8.1f  %s\n", $1, substr($3, RSTART, RLENGTH - 3)
  }' "$work/times" | sort -rn >"$work/table"
echo "      ms  formula"
cat "$work/table"
awk '{ sum += $1; if ($1 > worst) worst = $1 }
  END { printf "%8.1f  together, %d formulas, %.1f the longest\n", sum, NR, worst }' "$work/table"

# Numbers without tensors.
scopes() {
  mkdir "$work/$1"
  check -stats-output-dir "$work/$1" "$work/$1.swift" >/dev/null
  sed -n 's/.*"Sema.NumConstraintScopes": \([0-9]*\).*/\1/p' "$work/$1"/*.json
}
cp "$numbers" "$work/without.swift"
{ echo "import LazyGrad"; cat "$numbers"; } >"$work/with.swift"
without=$(scopes without)
with=$(scopes with)
echo "numbers without tensors: $without steps, with import LazyGrad $with"
if [ -n "$without" ] && [ "$with" -gt "$without" ]; then
  echo "type-check: import LazyGrad makes the compiler try more in code without tensors"
  exit 1
fi

# What people write who know other libraries, and what the compiler has to tell them.
status=0
while IFS='|' read -r code message; do
  printf 'import LazyGrad\nfunc f(_ x: Tensor, _ y: Tensor) { %s }\n' "$code" >"$work/refused.swift"
  if check "$work/refused.swift" 2>"$work/refused" || ! grep -qF -- "$message" "$work/refused"; then
    echo "type-check: expected the compiler to refuse \`$code\` with: $message, but it says:"
    cat "$work/refused"
    status=1
  fi
done <<'LINES'
_ = x[x > 0]|write `x[x .> 0]`
x[x < 0] = 0|write `x[x .> 0]`
_ = x == y|write .==
if x > 0 { }|write .>
_ = x[..., 0]|write `.ellipsis` for `...`
LINES
exit "$status"

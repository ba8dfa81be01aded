#!/usr/bin/env bash
# Builds the documentation site with the toolchain's docc: perf/docs.sh [folder]
# The folder (default .build/docs) can be served by any web server. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.build/docs}
graphs=.build/symbol-graphs

docc=$(command -v docc || xcrun --find docc 2>/dev/null || true)
if [ -z "$docc" ]; then
  echo "docs: docc is not on the path; it comes with the Swift toolchain" >&2
  exit 1
fi

echo "docs: reading the public declarations ..."
swift build -c release --target LazyGrad >/dev/null
modules=$(swift build -c release --show-bin-path)/Modules
rm -rf "$graphs" "$out"
mkdir -p "$graphs"
target=$(swiftc -print-target-info | sed -n 's/^ *"triple": "\([^"]*\)".*/\1/p' | head -n 1)
swift symbolgraph-extract -module-name LazyGrad -I "$modules" -target "$target" \
  -minimum-access-level public -output-dir "$graphs" >/dev/null
rm -f "$graphs"/LazyGrad@*.symbols.json

echo "docs: making pages ..."
"$docc" convert Sources/LazyGrad/LazyGrad.docc --additional-symbol-graph-dir "$graphs" \
  --fallback-display-name LazyGrad --fallback-bundle-identifier LazyGrad \
  --warnings-as-errors --output-path "$out"
echo "docs: $(find "$out/data" -name '*.json' | wc -l | tr -d ' ') pages in $out"

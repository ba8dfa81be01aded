"""Draws the results of perf/compare.sh as bar charts in SVG, complete in themselves.

Usage: charts.py <results.json> <folder>

A chart has a line per peer and a column per case; a bar is the peer's time over LazyGrad's, on a
logarithmic scale that begins at LazyGrad's own time: to the right the peer is slower, to the left
it is faster. Colours follow the viewer's light or dark scheme.
"""

import json
import math
import os
import sys
from xml.sax.saxutils import escape

import plan

# Pixels.
WIDTH = 1000
LEFT = 190
LINE = 20
BAR = 12
GAP = 16
# Room for the numbers at the ends of bars.
NUMBER = 38

STYLE = """
text { font-family: system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; font-size: 12px; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.column { font-weight: 600 }
.muted { fill: #59636e; font-size: 11px }
.ground { fill: #ffffff }
.slower { fill: #3b76b5 }
.faster { fill: #d4731f }
.grid { stroke: #d9dee4 }
.one { stroke: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .muted { fill: #9198a1 }
  .ground { fill: #0d1117 }
  .slower { fill: #5b9bdc }
  .faster { fill: #e8924a }
  .grid { stroke: #2b3138 }
  .one { stroke: #9198a1 }
}
"""

# The README's chart: what is drawn side by side, and what it is called there.
OVERVIEW = [
    [("W1", "S", "train", "RNN S"), ("W1", "M", "train", "RNN M"), ("W1", "L", "train", "RNN L")],
    [("W2", "10000000", "train", "chain of 10 million"), ("W4", "mlp", "train", "perceptron"),
     ("W7", "trees", "train", "64 trees"), ("W7", "sequences", "train", "64 sequences")],
]
# Columns side by side in the charts of one workload.
COLUMNS = 5


def text(x, y, content, kind="", anchor="start"):
    kind = f' class="{kind}"' if kind else ""
    end = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}{end}>{escape(content)}</text>'


def number(ratio):
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×" if ratio >= 0.995 else f"{ratio:.2f}×"


def duration(us):
    for limit, scale, unit in ((1, 1e-3, "ns"), (1e3, 1, "µs"), (1e6, 1e3, "ms"), (1e12, 1e6, "s")):
        if us < limit:
            return f"{us / scale:.0f} {unit}" if us >= 100 * scale else f"{us / scale:.3g} {unit}"
    return ""


def block(columns, y):
    """Elements of one row of columns, each (title, entries by label), and where it ends."""
    order = list(dict.fromkeys(peer.label for peer in plan.PEERS))
    labels = [l for l in order if any(l in entries for _, entries in columns)]
    ratios = [entries[l]["ratio"] for _, entries in columns for l in labels if l in entries]
    # Whole decades, the same in all columns; a decade of its own left of LazyGrad only if needed.
    low = min(0, math.floor(math.log10(min(ratios)) + 0.05))
    high = max(1, math.ceil(math.log10(max(ratios)) - 0.05))
    parts = []
    width = (WIDTH - LEFT - GAP * len(columns)) / len(columns)
    top = y + 40
    bottom = top + LINE * len(labels)
    for k, label in enumerate(labels):
        parts.append(text(LEFT - 10, top + LINE * k + 14, label, anchor="end"))
    for column, (title, entries) in enumerate(columns):
        begin = LEFT + column * (width + GAP)
        left = begin + (NUMBER if low < 0 else 0)
        scale = (width - NUMBER - (NUMBER if low < 0 else 0)) / (high - low)

        def at(exponent):
            return left + (min(max(exponent, low), high) - low) * scale

        own = duration(entries["LazyGrad"]["median_us"])
        parts.append(text(begin, y + 14, title, "column"))
        parts.append(text(begin, y + 30, f"LazyGrad {own}", "muted"))
        step = max(1, math.ceil((high - low) * 30 / (scale * (high - low))))
        for exponent in range(low, high + 1):
            kind = "one" if exponent == 0 else "grid"
            parts.append(f'<path d="M{at(exponent):.1f} {top}V{bottom}" class="{kind}"/>')
            if exponent % step == 0:
                mark = f"{10 ** exponent:g}"
                parts.append(text(at(exponent), bottom + 14, mark, "muted", "middle"))
        for k, label in enumerate(labels):
            if label not in entries:
                continue
            ratio = entries[label]["ratio"]
            start, end = sorted((at(0), at(math.log10(ratio))))
            kind = "slower" if ratio >= 1 else "faster"
            middle = top + LINE * k + LINE / 2
            parts.append(f'<rect x="{start:.1f}" y="{middle - BAR / 2:.1f}" '
                         f'width="{max(end - start, 1):.1f}" height="{BAR}" rx="1.5" class="{kind}">'
                         f"<title>{escape(label)}: {duration(entries[label]['median_us'])}</title></rect>")
            if ratio >= 1:
                parts.append(text(end + 4, middle + 4, number(ratio)))
            else:
                parts.append(text(start - 4, middle + 4, number(ratio), anchor="end"))
    return parts, bottom + 22


def chart(title, note, blocks):
    parts = [text(16, 26, title, "title"), text(16, 44, note, "muted")]
    y = 56
    for columns in blocks:
        found, y = block(columns, y)
        parts += found
        y += 8
    height = round(y + 4)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>", f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        *parts, "</svg>", ""])


def draw(results, folder):
    """Writes overview.svg and a chart per workload; returns their names."""
    cells = {(cell["workload"], cell["case"], cell["pass"]):
             {entry["label"]: entry for entry in cell["entries"]}
             for cell in results["cells"] if len(cell["entries"]) > 1}
    machine = results["machine"]
    note = (f"How many times LazyGrad's time each takes, logarithmic: blue is slower, orange faster. "
            f"{machine['cpu']}, one thread, float32, {results['date']}; medians of interleaved rounds.")
    drawn = []

    def write(name, title, blocks):
        blocks = [columns for columns in blocks if columns]
        if blocks:
            with open(os.path.join(folder, name), "w") as file:
                file.write(chart(title, note, blocks))
            drawn.append(name)

    write("overview.svg", "Forward pass and gradients: peers' times over LazyGrad's",
          [[(title, cells[tuple(key)]) for *key, title in columns if tuple(key) in cells]
           for columns in OVERVIEW])
    for name, workload in plan.WORKLOADS.items():
        blocks = []
        for passes in workload.passes:
            columns = [(f"{case}, {passes}" if len(workload.passes) > 1 else case,
                        cells[name, case, passes])
                       for case in workload.cases() if (name, case, passes) in cells]
            blocks += [columns[k:k + COLUMNS] for k in range(0, len(columns), COLUMNS)]
        if sum(map(len, blocks)) < COLUMNS:
            blocks = [sum(blocks, [])]
        write(f"{name.lower()}.svg", f"{name}: {workload.title}", blocks)
    return drawn


if __name__ == "__main__":
    with open(sys.argv[1]) as results_file:
        print(*draw(json.load(results_file), sys.argv[2]), sep="\n")

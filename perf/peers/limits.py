"""Joins the rows of perf/limits.sh into one line per bar.

Usage: limits.py <folder with limits-*.jsonl and machine.json> [JSON file to write]

A share is taken within a round, so a machine that slows down for a while hits both sides; the table
shows medians over the rounds and the range of the share.
"""

import glob
import json
import os
import statistics
import sys

# What one core of the machine that the goals were set on does, in GFLOP/s: times of products are
# also shown as if this machine's did the same.
REFERENCE_PEAK = 255
# Multiplications and additions of the products of one MLP step (lgbench: MLP.swift).
MLP_OPERATIONS = 2 * 64 * (784 * 256 * 2 + (256 * 128 + 128 * 10) * 3)


class Round:
    """The rows of one round."""

    def __init__(self, path, isa):
        self.cells = {}
        rates = {}
        with open(path) as file:
            for line in file:
                entry = json.loads(line)
                for row in entry.get("rows", [entry]):
                    if row["case"] == "multiply_add":
                        width = row["vector_bytes"]
                        rates[width] = max(row["best"], rates.get(width, 0))
                    else:
                        key = (row.get("peer", "lazygrad"), row["workload"], row["case"],
                               row["pass"], row["threads"])
                        self.cells[key] = row
        self.peak = rates[32] if isa == "avx2" else max(rates.values())

    def ours(self, workload, case, passes, threads=1):
        return self.cells.get(("lazygrad", workload, case, passes, threads))

    def c(self, workload, case, passes):
        return self.cells[("c", workload, case, passes, 1)]


def bars(rounds):
    """(name, unit, ours, limit, share) per bar, values per round; the share is None for none."""

    def product(n):
        return f"{n}x{n}x{n}"

    for n in (2048, 1024, 512, 256, 64, 32, 16):
        rates = [r.ours("W3", product(n), "forward")["gflops"] for r in rounds]
        peaks = [r.peak for r in rounds]
        yield (f"product {n}, 1 thread, of peak", "GFLOP/s", rates, peaks,
               [a / b for a, b in zip(rates, peaks)])
    for n in (512, 1024, 2048):
        two = [r.ours("W3", product(n), "forward", 2) for r in rounds]
        if None in two:
            continue
        one = [r.ours("W3", product(n), "forward")["gflops"] for r in rounds]
        rates = [row["gflops"] for row in two]
        yield (f"product {n}, 2 threads, of twice one", "GFLOP/s", rates, [2 * v for v in one],
               [a / (2 * b) for a, b in zip(rates, one)])

    def against_c(name, workload, case, passes):
        ours = [r.ours(workload, case, passes)["median_us"] for r in rounds]
        theirs = [r.c(workload, case, passes)["median_us"] for r in rounds]
        return (name, "us", ours, theirs, [b / a for a, b in zip(ours, theirs)])

    yield against_c("chain 1e7 forward, of C fused", "W2", "10000000", "forward")
    yield against_c("chain 1e7 with gradients, of C fused", "W2", "10000000", "train")
    yield against_c("chain 1e3 with gradients, of C fused", "W2", "1000", "train")
    for case in ("sum0", "sum1", "softmax", "transpose"):
        name, _, ours, theirs, share = against_c(f"{case}, of C", "W6", case, "forward")
        size = [r.ours("W6", case, "forward")["bytes"] for r in rounds]
        yield (name, "GB/s", [b / t / 1e3 for b, t in zip(size, ours)],
               [b / t / 1e3 for b, t in zip(size, theirs)], share)
    steps = [r.ours("W4", "mlp", "train")["median_us"] for r in rounds]
    least = [MLP_OPERATIONS / r.peak / 1e3 for r in rounds]
    yield ("MLP step, of its products at peak", "us", steps, least,
           [b / a for a, b in zip(steps, least)])
    yield (f"MLP step, as at {REFERENCE_PEAK} GFLOP/s", "us",
           [t * r.peak / REFERENCE_PEAK for t, r in zip(steps, rounds)], None, None)
    yield against_c("RNN M with gradients, of C blocked", "W1", "M", "train")
    first = [r.ours("W1", "M", "train")["first_us"] / 1e3 for r in rounds]
    yield ("RNN M, first call of a new plan", "ms", first, None, None)


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "machine.json")) as file:
        machine = json.load(file)
    paths = sorted(glob.glob(os.path.join(folder, "limits-*.jsonl")))
    rounds = [Round(path, machine["isa"]) for path in paths]
    grid = [["bar", "unit", "LazyGrad", "limit", "share", "range"]]
    entries = []
    for name, unit, ours, limit, share in bars(rounds):
        entry = {"bar": name, "unit": unit, "lazygrad": statistics.median(ours)}
        line = [name, unit, number(entry["lazygrad"]), "-", "-", "-"]
        if limit:
            entry.update(limit=statistics.median(limit), share=statistics.median(share),
                         shares=share)
            line[3] = number(entry["limit"])
            line[4] = f"{100 * entry['share']:.0f}%"
            line[5] = f"{100 * min(share):.0f}..{100 * max(share):.0f}%"
        grid.append(line)
        entries.append(entry)
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    text = ["  ".join(cell.ljust(w) if i < 2 else cell.rjust(w)
                      for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in grid]
    text.insert(1, "  ".join("-" * w for w in widths))
    tier = next(row["isa"] for row in rounds[0].cells.values() if "isa" in row)
    print(f"{machine['cpu']}, {machine['cores']} cores; commit {machine['commit']}; instruction "
          f"set: {tier}; multiply-add peak of one core: "
          f"{statistics.median(r.peak for r in rounds):.1f} GFLOP/s")
    print(f"{len(rounds)} rounds of {machine['seconds']} s per case; medians; 100% is the limit\n")
    print("\n".join(text))
    if len(sys.argv) > 2:
        with open(sys.argv[2], "w") as file:
            json.dump({"machine": machine, "isa": tier, "bars": entries}, file, indent=1)
            file.write("\n")


main()

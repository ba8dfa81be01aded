"""Joins the rows of perf/compare.sh into ratios; checks losses; writes the results.

Usage: summarise.py <folder with round-*.jsonl and machine.json> <results folder>

A ratio is the peer's time over LazyGrad's in the same round, so a machine that slows down for a
while hits both sides; the table shows the median over the rounds and their range.
"""

import datetime
import glob
import json
import math
import os
import re
import statistics
import sys

import common as c

# Workload, case and pass of each line of the table.
LINES = [
    ("W1", "S", "train"),
    ("W1", "M", "train"),
    ("W1", "L", "train"),
    ("W2", "10000000", "forward"),
    ("W2", "10000000", "train"),
    *(("W3", "x".join(map(str, size)), "forward") for size in c.MATMUL_SIZES),
    ("W4", "mlp", "train"),
    *(("W6", case, "forward") for case in ("sum0", "sum1", "softmax", "transpose")),
]
PEERS = {
    "W1": [("mygrad", "guard"), ("numpy", "manual"), ("numpy", "batched"), ("c", "blocked")],
    "W2": [("mygrad", "guard"), ("numpy", "manual"), ("c", "fused")],
    "W3": [("numpy", "manual")],
    "W4": [("mygrad", "guard"), ("numpy", "manual")],
    "W6": [("numpy", "manual"), ("c", "fused")],
}
# Their programs check their results themselves.
WITHOUT_LOSS = ("W3", "W6")
# A forward pass alone keeps nothing for gradients: lgbench runs it inside noAutodiff.
OURS = {"train": ("lazygrad", "guard"), "forward": ("lazygrad", "noautodiff")}
TITLES = {"W1": "W1 RNN", "W2": "W2 chain", "W3": "W3 product", "W4": "W4", "W6": "W6",
          "train": "forward + gradients", "forward": "forward"}
# Float32 sums in different orders: relative to the loss, or to 1 where the loss is small.
LOSS_TOLERANCE = 1e-4


def case_name(text):
    """`1e7`, `1e+07`, `10000000` and `N=1e7` are one case."""
    text = re.sub(r"^[A-Za-z]+\s*=\s*", "", str(text))
    try:
        return str(int(float(text)))
    except ValueError:
        return text


def rows_of(path):
    """The rows of one round: peers print a row per line, lgbench one object with all of its."""
    with open(path) as file:
        for line in file:
            entry = json.loads(line)
            for row in entry.get("rows", [entry]):
                row.setdefault("peer", "lazygrad")
                row.setdefault("mode", "guard")
                row["case"] = case_name(row["case"])
                yield row


def collect(folder):
    rounds = []
    for path in sorted(glob.glob(os.path.join(folder, "round-*.jsonl"))):
        cells = {}
        for row in rows_of(path):
            if row["case"] == "multiply_add":
                cells["peak"] = max(row["best"], cells.get("peak", 0))
            else:
                cells[row["workload"], row["case"], row["pass"], row["peer"], row["mode"]] = row
        rounds.append(cells)
    return rounds


def table(rounds):
    """Table cells, the rows of the JSON file, and complaints about losses."""
    lines, results, complaints = [], [], []
    for workload, case, passes in LINES:
        ours = [r.get((workload, case, passes) + OURS[passes]) for r in rounds]
        if None in ours:
            continue
        line = {"workload": workload, "case": case, "pass": passes, "peers": [],
                "lazygrad_us": statistics.median(r["median_us"] for r in ours)}
        for peer, mode in PEERS[workload]:
            theirs = [r.get((workload, case, passes, peer, mode)) for r in rounds]
            if None in theirs:
                continue
            ratios = [t["median_us"] / o["median_us"] for t, o in zip(theirs, ours)]
            line["peers"].append({
                "peer": peer, "mode": mode, "version": theirs[0]["version"],
                "median_us": statistics.median(r["median_us"] for r in theirs),
                "ratio": statistics.median(ratios), "ratios": ratios})
            if workload in WITHOUT_LOSS:
                continue
            mine, other = ours[0].get("loss"), theirs[0].get("loss")
            name = f"{workload} {case} {passes}"
            if mine is None:
                complaints.append(f"{name}: lgbench gives no loss")
            elif not math.isclose(mine, other, rel_tol=LOSS_TOLERANCE, abs_tol=LOSS_TOLERANCE):
                complaints.append(f"{name}: loss {mine!r}, {peer} {mode} {other!r}")
        if workload == "W3":
            line["gflops"] = statistics.median(r["gflops"] for r in ours)
            if all("peak" in r for r in rounds):
                line["of_peak"] = statistics.median(
                    o["gflops"] / r["peak"] for o, r in zip(ours, rounds))
        lines.append(line)
        results += ours
    return lines, results, complaints


def microseconds(value):
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def render(lines):
    """The markdown table, columns padded so that it also lines up in a terminal."""
    grid = [["workload", "pass", "LazyGrad µs", "peer", "peer µs", "ratio", "range"]]
    for line in lines:
        for p in line["peers"]:
            grid.append([
                f"{TITLES[line['workload']]} {line['case']}", TITLES[line["pass"]],
                microseconds(line["lazygrad_us"]), f"{p['peer']} {p['mode']}",
                microseconds(p["median_us"]), f"{p['ratio']:.2f}",
                f"{min(p['ratios']):.2f}..{max(p['ratios']):.2f}"])
    return padded(grid)


def render_products(lines):
    """Rates of the matrix products, and percent of the machine's multiply-add peak if measured."""
    grid = [["product", "LazyGrad GFLOP/s", "of peak", "NumPy GFLOP/s"]]
    for line in lines:
        if "gflops" in line:
            rate = line["gflops"]
            numpy = [f"{rate / p['ratio']:.1f}" for p in line["peers"]] or ["-"]
            share = f"{100 * line['of_peak']:.1f}%" if "of_peak" in line else "-"
            grid.append([line["case"], f"{rate:.1f}", share, numpy[0]])
    return padded(grid) if len(grid) > 1 else ""


def padded(grid):
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |"
            for row in grid]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def main():
    folder, target = sys.argv[1], sys.argv[2]
    with open(os.path.join(folder, "machine.json")) as file:
        machine = json.load(file)
    rounds = collect(folder)
    lines, results, complaints = table(rounds)
    if not lines:
        sys.exit("compare: no line of the table has rows of lgbench in every round")
    method = (
        f"{len(rounds)} rounds; in each, lgbench and every peer run one after the other on the "
        f"same machine, one thread each, {machine['seconds']} s of sampling per case. A time is "
        "the median over the rounds of the median of a round; a ratio is the peer's time over "
        "LazyGrad's in the same round, median (range) over the rounds: above 1, LazyGrad is "
        "faster. Float32. Passes with gradients run with the memory guard on; a forward pass of "
        "LazyGrad alone runs inside noAutodiff, as NumPy and C compute it.")
    report = render(lines)
    products = render_products(lines)
    if products:
        report += "\n\n" + products
    losses = "Losses agree." if not complaints else "LOSSES DISAGREE:\n" + "\n".join(complaints)
    today = datetime.date.today().isoformat()
    cpu = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    os.makedirs(target, exist_ok=True)
    name = f"{today}-{cpu}.json"
    with open(os.path.join(target, name), "w") as file:
        json.dump({"date": today, "machine": machine, "method": method, "table": lines,
                   "lazygrad_rows": results, "complaints": complaints}, file, indent=1)
        file.write("\n")
    about = (f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}; "
             f"{machine['swift']}; Python {machine['python']}; {machine['cc']}")
    versions = {f"{p['peer']} {p['version']}" for line in lines for p in line["peers"]
                if p["peer"] != "c"}
    text = (f"# LazyGrad and its peers\n\n{today}, commit {machine['commit']}. {about}. "
            f"Peers: {', '.join(sorted(versions))}.\n\n{report}\n\n{losses}\n\n{method}\n\n"
            f"Rows: `{name}`. Made by `perf/compare.sh`.\n")
    with open(os.path.join(target, "latest.md"), "w") as file:
        file.write(text)
    print(report)
    print(losses)
    sys.exit(1 if complaints else 0)


main()

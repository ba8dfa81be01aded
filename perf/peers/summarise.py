"""Joins the rows of perf/compare.sh into ratios; checks losses and gradients; writes the results.

Usage: summarise.py <folder with round-*.jsonl, machine.json, run.json> <results folder>

A ratio is the peer's time over LazyGrad's in the same round, so a machine that slows down for a
while hits both sides; the tables show the median over the rounds.
"""

import datetime
import glob
import json
import math
import os
import re
import statistics
import sys

import charts
import plan

# Float32 sums in different orders: relative to the value, or to 1 where it is small.
TOLERANCE = 1e-4
# Rounds whose ratios spread further than this are marked.
SPREAD = 1.5

# Programs of one thread that had less of a core than this had to share it.
IDLE = 0.9

# What W1 and W7 aim at: workload, case, pass, the line to compare with, the ratio of LazyGrad's time
# to it that is wanted at most.
AIMS = [
    ("W1", "S", "train", "C by hand", 3.6), ("W1", "S", "forward", "C by hand", 4),
    ("W1", "S", "forward", "JAX, scan", 0.55),
    ("W1", "M", "train", "C by hand", 1.02), ("W1", "M", "forward", "C by hand", 1.02),
    ("W1", "L", "train", "C by hand", 0.92), ("W1", "L", "forward", "C by hand", 0.92),
    ("W7", "trees", "train", "DyNet, batching", 0.5),
    ("W7", "sequences", "train", "DyNet, batching", 0.5),
]


def collect(folder):
    """A dictionary per round: the rows by workload, case, pass and label; and the other rows."""
    rounds = []
    for path in sorted(glob.glob(os.path.join(folder, "round-*.jsonl"))):
        cells = {}
        with open(path) as file:
            for row in map(json.loads, file):
                if row["case"] == "multiply_add":
                    cells["peak"] = max(row["best"], cells.get("peak", 0))
                    continue
                key = row["workload"], row["case"], row["pass"]
                if row["peer"] == "lazygrad" and row.get("mode") != plan.OURS[row["pass"]]:
                    cells[key + (f"LazyGrad {row['mode']}",)] = row
                else:
                    cells[key + (row["label"],)] = row
        rounds.append(cells)
    return rounds


def entry(label, rows, ours):
    """A line's numbers in one cell of a table."""
    ratios = [row["median_us"] / mine["median_us"] for row, mine in zip(rows, ours)]
    firsts = [row["first_us"] for row in rows if "first_us" in row]
    if label in plan.CACHED:
        firsts = firsts[:1]
    best = min(row["min_us"] for row in rows) / min(mine["min_us"] for mine in ours)
    result = {
        "label": label, "peer": rows[0]["peer"], "mode": rows[0].get("mode"),
        "version": rows[0].get("version"), "ratio": statistics.median(ratios), "ratios": ratios,
        "ratio_of_minima": best, "median_us": statistics.median(row["median_us"] for row in rows),
        "medians_us": [row["median_us"] for row in rows],
        "min_us": min(row["min_us"] for row in rows)}
    if firsts:
        result["first_us"] = statistics.median(firsts)
    for name in ("loss", "gradient_norm"):
        if rows[0].get(name) is not None:
            result[name] = rows[0][name]
    return result


def complaints_of(name, entries):
    """Losses and gradients that are not LazyGrad's, or if it gives none, not the first peer's."""
    for quantity in ("loss", "gradient_norm"):
        known = [e for e in entries if quantity in e]
        for other in known[1:]:
            a, b = known[0][quantity], other[quantity]
            if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE if quantity == "loss" else 0):
                yield f"{name}: {quantity} of {known[0]['label']} {a!r}, of {other['label']} {b!r}"


def table(rounds):
    """The cells of all tables in the order of the plan, and complaints about losses."""
    cells, complaints = [], []
    for name, workload in plan.WORKLOADS.items():
        for case in workload.cases():
            for passes in workload.passes:
                key = name, case, passes
                # A run that was stopped leaves a round that is not whole.
                whole = [cells_ for cells_ in rounds if key + ("LazyGrad",) in cells_]
                if not whole:
                    continue
                ours = [cells_[key + ("LazyGrad",)] for cells_ in whole]
                entries = [entry("LazyGrad", ours, ours)]
                for label in dict.fromkeys(peer.label for peer in plan.PEERS):
                    both = [(cells_[key + (label,)], mine) for cells_, mine in zip(whole, ours)
                            if key + (label,) in cells_]
                    if both:
                        entries.append(entry(label, *zip(*both)))
                if workload.checked:
                    complaints += complaints_of(" ".join(key), entries)
                cell = {"workload": name, "case": case, "pass": passes, "entries": entries}
                unguarded = [cells_.get(key + ("LazyGrad unguarded",)) for cells_ in whole]
                if None not in unguarded:
                    cell["guard_over_unguarded"] = statistics.median(
                        mine["median_us"] / other["median_us"] for mine, other in zip(ours, unguarded))
                if "gflops" in ours[0]:
                    cell["gflops"] = statistics.median(row["gflops"] for row in ours)
                    if all("peak" in cells_ for cells_ in whole):
                        cell["of_peak"] = statistics.median(
                            row["gflops"] / cells_["peak"] for row, cells_ in zip(ours, whole))
                cells.append(cell)
    return cells, complaints


def times(ratio):
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.2g}" if ratio >= 9.95 else f"{ratio:.2f}"


def lookup(cell, label):
    return next((e for e in cell["entries"] if e["label"] == label), None)


def labels(cells):
    found = {e["label"] for cell in cells for e in cell["entries"]}
    return [l for l in dict.fromkeys(["LazyGrad"] + [p.label for p in plan.PEERS]) if l in found]


def heading(cell, several):
    return f"{cell['case']}, {cell['pass']}" if several else cell["case"]


def pivot(cells):
    """A line per peer, a column per case and pass: the time, and how many times LazyGrad's it is."""
    several = len({cell["pass"] for cell in cells}) > 1
    grid = [[""] + [heading(cell, several) for cell in cells]]
    for label in labels(cells):
        line = [label]
        for cell in cells:
            found = lookup(cell, label)
            if found is None:
                line.append("")
            elif label == "LazyGrad":
                line.append(charts.duration(found["median_us"]))
            else:
                mark = "~" if max(found["ratios"]) > SPREAD * min(found["ratios"]) else ""
                line.append(f"{charts.duration(found['median_us'])} ({mark}{times(found['ratio'])})")
        grid.append(line)
    return padded(grid)


def products(cells):
    """Rates of the matrix products, and percent of the machine's multiply-add peak if measured."""
    cells = [cell for cell in cells if "gflops" in cell]
    names = labels(cells)
    grid = [["product", "of peak"] + [f"{name}" for name in names]]
    for cell in cells:
        line = [cell["case"], f"{100 * cell['of_peak']:.0f} %" if "of_peak" in cell else "-"]
        for name in names:
            found = lookup(cell, name)
            line.append(f"{cell['gflops'] / found['ratio']:.1f}" if found else "")
        grid.append(line)
    return padded(grid) if cells else ""


def firsts(cells):
    """First calls of everything with gradients."""
    cells = [cell for cell in cells
             if cell["pass"] == "train" and any("first_us" in e for e in cell["entries"])
             and cell["workload"] in ("W1", "W4", "W7")]
    grid = [[""] + [f"{cell['workload']} {cell['case']}" for cell in cells]]
    for label in labels(cells):
        line = [label]
        for cell in cells:
            found = lookup(cell, label)
            line.append(charts.duration(found["first_us"]) if found and "first_us" in found else "")
        grid.append(line)
    return padded(grid) if cells else ""


def aims(cells):
    found = {(cell["workload"], cell["case"], cell["pass"]): cell for cell in cells}
    grid = [["LazyGrad's time over", "measured", "aim: at most"]]
    for name, case, passes, label, aim in AIMS:
        cell = found.get((name, case, passes))
        peer = cell and lookup(cell, label)
        if peer:
            grid.append([f"{label}, {name} {case} {passes}", times(1 / peer["ratio"]), str(aim)])
    for case in ("S", "M", "L"):
        cell = found.get(("W1", case, "train"))
        if cell and "guard_over_unguarded" in cell:
            grid.append([f"its own without the guard, W1 {case} train",
                         f"{cell['guard_over_unguarded']:.3f}", "1.01"])
    cell = found.get(("W1", "M", "train"))
    if cell and "first_us" in cell["entries"][0]:
        grid.append(["first call of W1 M train", charts.duration(cell["entries"][0]["first_us"]), "2 ms"])
    return padded(grid) if len(grid) > 1 else ""


def padded(grid):
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |"
            for row in grid]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)


def report(cells):
    parts = []
    for name, workload in plan.WORKLOADS.items():
        own = [cell for cell in cells if cell["workload"] == name]
        if own:
            parts.append(f"## {name}: {workload.title}")
            parts += [products(own)] if name == "W3" else []
            parts.append(pivot(own))
    for title, text in (("First calls", firsts(cells)), ("Aims", aims(cells))):
        if text:
            parts += [f"## {title}", text]
    return "\n\n".join(parts)


def read(path, missing):
    if not os.path.exists(path):
        return missing
    with open(path) as file:
        return json.load(file)


def main():
    folder, target = sys.argv[1], sys.argv[2]
    machine = read(os.path.join(folder, "machine.json"), {})
    run = read(os.path.join(folder, "run.json"), {})
    core, left_out, share = run.get("core", ""), run.get("left_out", []), run.get("core_share", 0)
    rounds = collect(folder)
    cells, complaints = table(rounds)
    if not cells:
        sys.exit("compare: no line of the tables has rows of lgbench")
    method = (
        f"{len(rounds)} rounds; in each, lgbench and every peer run one after the other"
        + (f", all on core {core}" if core else "") +
        f", one thread each, {machine['seconds']} s of sampling per case. A time is the median over "
        "the rounds of the median of a round. In brackets stands the peer's time over LazyGrad's in "
        f"the same round, the median over the rounds: above 1, LazyGrad is faster; ~ where rounds "
        f"differ by more than {SPREAD} times. Float32. `train` is forward and gradients, with the "
        "memory guards of LazyGrad and MyGrad on; a forward pass alone runs without autodiff "
        "wherever there is such a thing. A first call includes tracing and compiling: LazyGrad's is "
        "with an empty plan cache, those of "
        + " and ".join(plan.CACHED) + " are of the first round, when no compiled code lies on disk.")
    text = report(cells)
    losses = ("Losses and gradients agree." if not complaints
              else "LOSSES OR GRADIENTS DISAGREE:\n" + "\n".join(complaints))
    today = datetime.date.today().isoformat()
    cpu = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-")
    about = (f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}; "
             f"{machine['swift']}; Python {machine['python']}; {machine['cc']}; "
             f"load averages at the start {machine['load']}")
    versions = sorted({f"{e['peer']} {e['version']}" for cell in cells for e in cell["entries"]
                       if e["peer"] not in ("c", "lazygrad")})
    missing = sorted({gap["peer"] for gap in left_out if gap["why"] == "not installed"})
    failed = [f"{gap['peer']} in {gap['workload']} {gap['cases']} ({gap['why']})" for gap in left_out
              if gap["why"] != "not installed"]
    gaps = "".join([f" Not installed: {', '.join(missing)}." if missing else "",
                    f" Left out: {', '.join(failed)}." if failed else ""])
    if share < IDLE:
        gaps += (f" **The machine was busy: the programs had {100 * share:.0f} % of a core. Times and "
                 "ratios of this run mean little.**")
    os.makedirs(target, exist_ok=True)
    name = f"{today}-{cpu}.json"
    results = {"date": today, "machine": machine, "core": core, "core_share": share, "method": method,
               "versions": versions, "rounds": len(rounds), "left_out": left_out, "cells": cells, "complaints": complaints}
    with open(os.path.join(target, name), "w") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    drawn = charts.draw(results, target)
    with open(os.path.join(target, "latest.md"), "w") as file:
        file.write(f"# LazyGrad and its peers\n\n{today}, commit {machine['commit']}. {about}. "
                   f"Peers: {', '.join(versions)}.{gaps}\n\n![Times over LazyGrad's](overview.svg)\n\n"
                   f"{text}\n\n{losses}\n\n{method}\n\nNumbers: `{name}`. Charts: "
                   f"{', '.join(f'[{chart}]({chart})' for chart in drawn)}. "
                   f"Made by `perf/compare.sh`.\n")
    print(text)
    print(losses)
    print(f"Programs had {100 * share:.0f} % of a core.")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()

"""Puts the results of perf/compare.sh into the README, between the two lines that mark their place.

Usage: readme.py <results.json> <README.md>
"""

import json
import os
import re
import sys
import textwrap

import charts
import summarise

BEGIN = "<!-- perf/compare.sh --readme writes from here -->"
END = "<!-- to here -->"
LINES = [
    ("W1", "S", "recurrent network S: 50 steps, batch 1"),
    ("W1", "M", "recurrent network M: 100 steps, batch 16"),
    ("W1", "L", "recurrent network L: 100 steps, batch 32"),
    ("W2", "10000000", "elementwise chain of 10 million"),
    ("W4", "mlp", "perceptron 784-256-128-10, batch 64"),
    ("W7", "trees", "tree LSTM, 64 trees one at a time"),
    ("W7", "sequences", "GRU, 64 sequences one at a time"),
]
# What a column shows: the first of these lines of the tables that has the workload.
COLUMNS = [("MyGrad", ["MyGrad"]), ("PyTorch", ["PyTorch"]), ("JAX", ["JAX, scan", "JAX"]),
           ("DyNet", ["DyNet", "DyNet, batching"]), ("NumPy by hand", ["NumPy, hoisted", "NumPy"]),
           ("C by hand", ["C by hand"])]
FIRST_CALLS = ["LazyGrad", "MyGrad", "PyTorch", "PyTorch, compiled", "JAX", "JAX, scan", "DyNet"]


def section(results, name):
    cells = {(cell["workload"], cell["case"]): cell for cell in results["cells"]
             if cell["pass"] == "train"}
    found = [(cells[case[:2]], case[2]) for case in LINES if case[:2] in cells]
    columns = [(title, labels) for title, labels in COLUMNS
               if any(summarise.lookup(cell, label) for cell, _ in found for label in labels)]
    grid = [["workload, gradients included", "LazyGrad"] + [title for title, _ in columns]]
    for cell, title in found:
        line = [title, charts.duration(cell["entries"][0]["median_us"])]
        for _, labels in columns:
            peers = [peer for label in labels if (peer := summarise.lookup(cell, label))]
            line.append(summarise.times(peers[0]["ratio"]) + " x" if peers else "")
        grid.append(line)
    machine = results["machine"]
    folder = os.path.relpath(os.path.dirname(os.path.abspath(name)))
    pinned = " pinned to one core" if results["core"] else ""
    counted = "1 round" if results["rounds"] == 1 else f"{results['rounds']} rounds"
    method = (f"{machine['cpu']}, {machine['cores']} cores, {results['date']}; one thread, float32; "
              f"everything{pinned} in turn, {counted}, medians. "
              + ("JAX's networks are `scan`s, all others loops over time. "
                 if any(title == "JAX" for title, _ in columns) else "") +
              f"Versions, forward passes, matrix products and more peers: [{folder}/latest.md]"
              f"({folder}/latest.md). `perf/compare.sh --install all` measures on yours.")
    parts = [f"![How many times LazyGrad's time its peers take]({folder}/overview.svg)",
             summarise.padded(grid), filled(method)]
    small = recurrent(results)
    if len(small) > 1:
        parts += ["The recurrent network once more: how far it is from C and from JAX's `scan`, and "
                  "what a first call costs, tracing\nand compiling included:",
                  summarise.padded(small)]
    return "\n\n".join(parts)


def filled(text):
    """Text in lines, none of which ends inside a command."""
    whole = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), text)
    lines = textwrap.fill(whole, 104, break_on_hyphens=False, break_long_words=False)
    return lines.replace("\0", " ")


def recurrent(results):
    """W1 over C and over JAX's scan, and first calls."""
    cells = {(cell["case"], cell["pass"]): cell for cell in results["cells"]
             if cell["workload"] == "W1"}
    sizes = [case for case in ("S", "M", "L") if (case, "train") in cells]
    grid = [[""] + sizes]

    def add(title, function):
        line = [function(case) for case in sizes]
        if any(line):
            grid.append([title] + line)

    def over(label, passes):
        def ratio(case):
            cell = cells.get((case, passes))
            peer = cell and summarise.lookup(cell, label)
            return summarise.times(1 / peer["ratio"]) if peer else ""
        return ratio

    for label, title in (("C by hand", "C by hand"), ("JAX, scan", "JAX's scan")):
        for passes, words in (("train", "with gradients"), ("forward", "forward")):
            add(f"LazyGrad over {title}, {words}", over(label, passes))
    for label in FIRST_CALLS:
        def first(case):
            peer = summarise.lookup(cells[case, "train"], label)
            return charts.duration(peer["first_us"]) if peer and "first_us" in peer else ""
        add(f"first call, with gradients: {label}", first)
    return grid


def main():
    with open(sys.argv[1]) as file:
        results = json.load(file)
    if results["core_share"] < summarise.IDLE:
        sys.exit(f"readme: the programs of this run had {100 * results['core_share']:.0f} % of a core: "
                 "not for the README")
    with open(sys.argv[2]) as file:
        text = file.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"readme: expected the lines {BEGIN} and {END} in {sys.argv[2]}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    with open(sys.argv[2], "w") as file:
        file.write(f"{before}{BEGIN}\n\n{section(results, sys.argv[1])}\n\n{END}{after}")


main()

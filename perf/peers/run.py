"""Runs lgbench and its peers in turn, round after round, as plan.py says. See perf/compare.sh.

Writes round-N.jsonl, a row per line, and run.json into the work folder. A peer whose program
fails is named in one line and left out of those cases from then on; what it printed as an error is in errors.log.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import plan

parser = argparse.ArgumentParser()
for name in ("work", "data", "lgbench", "workloads", "presets", "seconds"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--rounds", type=int, required=True)
parser.add_argument("--limit", type=float, required=True, help="seconds that a program may take")
parser.add_argument("--core", default="", help="the core that everything runs on")
parser.add_argument("--c", action="store_true", help="there are C programs")
parser.add_argument("peers", nargs="*", help="NAME=PYTHON")
args = parser.parse_args()

here = os.path.dirname(os.path.abspath(__file__))
pythons = dict(peer.split("=", 1) for peer in args.peers)
pinned = ["taskset", "-c", args.core] if args.core else []
excluded = {}
spent = {"wall": 0.0, "processor": 0.0}
errors = open(os.path.join(args.work, "errors.log"), "w")


def processor_time():
    """Of all programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def program(command, variables=None):
    """What a program prints; nothing if it fails, and why."""
    errors.write(f"--- {' '.join(command)}\n")
    errors.flush()
    begin = time.monotonic()
    used = processor_time()
    # A session of its own: what it has started ends with it, compilers for example.
    process = subprocess.Popen(pinned + command, env={**os.environ, **(variables or {})},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                               text=True, start_new_session=True)
    try:
        text = process.communicate(timeout=args.limit)[0]
    except subprocess.TimeoutExpired:
        return None, f"took more than {args.limit:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        spent["wall"] += time.monotonic() - begin
        spent["processor"] += processor_time() - used
    return (text, "") if process.returncode == 0 else (None, f"status {process.returncode}")


def case_name(text):
    """`1e7`, `1e+07`, `10000000` and `N=1e7` are one case."""
    text = re.sub(r"^[A-Za-z]+\s*=\s*", "", str(text))
    try:
        return str(int(float(text)))
    except ValueError:
        return text


def ours(workload, cases):
    """lgbench's rows, with the label, the names and the units of the peers'."""
    path = os.path.join(args.work, "lgbench.json")
    budget = str(workload.rows * float(args.seconds))
    text, why = program([args.lgbench, *workload.command(cases), "--threads", "1",
                         "--seconds", budget, "--quiet", "--json", path])
    if text is None:
        sys.exit(f"compare: lgbench {' '.join(workload.command(cases))}: {why}")
    with open(path) as file:
        rows = json.load(file)["rows"]
    for row in rows:
        if row["case"].startswith("chain of 1000 additions, "):
            row["case"] = "chain"
            row["median_us"] = row["ns_per_op"] / 1000
            row["min_us"] = row["min_ns_per_op"] / 1000
        row["case"] = case_name(row["case"])
        if row["case"] in cases and "median_us" in row and "pass" in row:
            yield dict(row, peer="lazygrad", label="LazyGrad")


def theirs(peer, name, cases):
    """A peer's rows of a workload. None: it can't be had, and why."""
    if peer.name not in pythons:
        return None, "not installed"
    if peer.needs and not shutil.which(peer.needs):
        return None, f"needs {peer.needs}"
    rows = []
    for mode, passes in peer.runs(name):
        text, why = program(
            [pythons[peer.name], "-B", "-W", "ignore", os.path.join(here, f"bench_{peer.name}.py"),
             name, "--mode", mode, "--cases", ",".join(cases), "--pass", ",".join(passes),
             "--seconds", args.seconds], peer.environment(name))
        if text is None:
            return None, why
        rows += [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [dict(row, label=peer.label, case=case_name(row["case"])) for row in rows], ""


def in_c(name, cases):
    """The rows of the C programs."""
    for case in cases:
        line = plan.WORKLOADS[name].c(case, args.data, args.seconds)
        if line is None:
            continue
        text, why = program([os.path.join(args.work, line[0]), *line[1:]])
        if text is None:
            sys.exit(f"compare: {' '.join(line)}: {why}")
        for row in map(json.loads, text.splitlines()):
            if row["case"] == "multiply_add":
                yield row
                continue
            for peer in plan.PEERS:
                if (peer.name, peer.modes["train"]) == ("c", row["mode"]) and name in peer.workloads:
                    yield dict(row, label=peer.label, case=case_name(row["case"]))


def run_round():
    for name in args.workloads.split(","):
        workload = plan.WORKLOADS[name]
        for cases in workload.groups:
            if name == "W1" and cases[0] not in args.presets.split(","):
                continue
            yield from ours(workload, cases)
            for peer in plan.PEERS:
                key = peer.label, name, ",".join(cases)
                if name not in peer.workloads or peer.name == "c" or key in excluded:
                    continue
                rows, why = theirs(peer, name, cases)
                if rows is None:
                    excluded[key] = why
                    if why != "not installed":
                        print(f"compare: {name} {key[2]} without {peer.label}: {why}", flush=True)
                else:
                    yield from rows
            if workload.c and args.c:
                yield from in_c(name, cases)


for number in range(1, args.rounds + 1):
    begin = time.monotonic()
    with open(os.path.join(args.work, f"round-{number}.jsonl"), "w") as file:
        for row in run_round():
            file.write(json.dumps(row) + "\n")
            file.flush()
    print(f"compare: round {number} of {args.rounds}: {time.monotonic() - begin:.0f} s", flush=True)
with open(os.path.join(args.work, "run.json"), "w") as file:
    json.dump({"core": args.core, "core_share": spent["processor"] / spent["wall"],
               "left_out": [{"peer": peer, "workload": name, "cases": cases, "why": why}
                            for (peer, name, cases), why in excluded.items()]}, file, indent=1)

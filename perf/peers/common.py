"""What the peers share: sizes, data, timing rules and the form of a result row.

The data come from NumPy's legacy generator with fixed seeds; lgbench draws the same numbers, so
losses can be compared across peers. Everything is float32.
"""

import argparse
import importlib.metadata
import json
import statistics
import time

import numpy as np

f32 = np.float32

# W1: (steps, batch, inputs, hidden, classes)
RNN_SIZES = {
    "S": (50, 1, 8, 16, 4),
    "M": (100, 16, 32, 64, 10),
    "L": (100, 32, 128, 256, 10),
}
# W2: elements
CHAIN_SIZES = (1_000, 100_000, 10_000_000)
# W3: rows, depth, columns
MATMUL_SIZES = [(n, n, n) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)]
MATMUL_SIZES += [(1, 64, 64), (16, 64, 256)]
# W4
MLP_DIMS = (784, 256, 128, 10)
MLP_BATCH = 64
LEARNING_RATE = 0.01
# W5: operations in one chain
OVERHEAD_LENGTH = 1000
# W6: rows and columns; the softmax takes the first columns' worth of values
REDUCE_SIZE = 4096
SOFTMAX_COLUMNS = 1024


def arguments(modes, workloads):
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=workloads)
    parser.add_argument("--mode", default=modes[0], choices=modes)
    parser.add_argument("--cases", default="", help="comma-separated subset of the cases")
    parser.add_argument("--pass", dest="passes", default="train,forward", help="train, forward or both")
    parser.add_argument("--seconds", type=float, default=1.0, help="sampling time of each case")
    return parser.parse_args()


def chosen(args, cases):
    """The cases asked for, in the workload's order."""
    wanted = args.cases.split(",") if args.cases else [str(c) for c in cases]
    return [c for c in cases if str(c) in wanted]


def rnn_data(size):
    steps, batch, inputs, hidden, classes = RNN_SIZES[size]
    r = np.random.RandomState(0)
    x = r.randn(steps, batch, inputs).astype(f32)
    wx = (r.randn(inputs, hidden) / np.sqrt(inputs)).astype(f32)
    wh = (r.randn(hidden, hidden) * 0.7 / np.sqrt(hidden)).astype(f32)
    b = (r.randn(hidden) * 0.1).astype(f32)
    wo = (r.randn(hidden, classes) / np.sqrt(hidden)).astype(f32)
    bo = (r.randn(classes) * 0.1).astype(f32)
    labels = r.randint(0, classes, size=batch)
    return x, labels, [wx, wh, b, wo, bo]


def chain_data(n):
    r = np.random.RandomState(1)
    return [r.randn(n).astype(f32) for _ in range(3)]


def matmul_data(rows, depth, columns):
    """Pairs of operands: one if it is large; else a power of two of them, at most 64, that with
    their products take half a megabyte."""
    size = 4 * (rows * depth + depth * columns + rows * columns)
    count = 1
    while count < 64 and 2 * count * size <= 512 << 10:
        count *= 2
    r = np.random.RandomState(3)
    return [(r.randn(rows, depth).astype(f32), r.randn(depth, columns).astype(f32))
            for _ in range(count)]


def mlp_data():
    r = np.random.RandomState(2)
    x = r.randn(MLP_BATCH, MLP_DIMS[0]).astype(f32)
    labels = r.randint(0, MLP_DIMS[-1], size=MLP_BATCH)
    parameters = []
    for rows, columns in zip(MLP_DIMS[:-1], MLP_DIMS[1:]):
        parameters.append((r.randn(rows, columns) * np.sqrt(2.0 / rows)).astype(f32))
        parameters.append(np.zeros(columns, f32))
    return x, labels, parameters


def overhead_data():
    return np.arange(4, dtype=f32), np.full(4, 0.5, f32)


def reduce_data():
    """A square matrix of values from 0 to 1, and the softmax's from -3 to 3."""
    values = np.random.RandomState(4).rand(REDUCE_SIZE, REDUCE_SIZE).astype(f32)
    part = values.reshape(-1)[:REDUCE_SIZE * SOFTMAX_COLUMNS] * 6 - 3
    return values, part.reshape(REDUCE_SIZE, SOFTMAX_COLUMNS)


def reduce_results():
    """What the cases of W6 must give, each as a function."""
    x, y = reduce_data()

    def softmax():
        e = np.exp(y - y.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    return {"sum0": lambda: x.sum(0, np.float64), "sum1": lambda: x.sum(1, np.float64),
            "softmax": softmax, "transpose": lambda: x.T}


def version(*packages):
    """Of the first of these that is installed."""
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def gradient_norm(gradients):
    return float(np.sqrt(sum(float((np.asarray(g, np.float64) ** 2).sum()) for g in gradients)))


def first(result):
    """The loss, of a loss and its gradients."""
    return result[0]


def second(result):
    """The gradients, of a loss and its gradients."""
    return result[1]


def check(name, found, expected):
    """Ends the program if a result without a loss is another than NumPy's."""
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-4):
        raise SystemExit(f"{name}: the result is not NumPy's")


class Bench:
    """Times functions and prints one JSON row for each."""

    def __init__(self, peer, version, args):
        self.base = {"peer": peer, "version": version, "mode": args.mode,
                     "workload": args.workload, "threads": 1}
        self.seconds = args.seconds
        self.passes = args.passes.split(",")

    def run(self, case, passes, function, loss=None, gradients=None, per=1):
        """Samples `function`, which must return only when its result is computed.

        `loss` and `gradients` take them from what the first call returns. Short functions are
        repeated inside a sample until it lasts 100 us. The first call and a warm-up of up to a third
        of the budget are not sampled; what takes long is not warmed up. `per` divides the times:
        operations in one call.
        """
        if passes not in self.passes:
            return
        clock = time.perf_counter
        start = clock()
        result = function()
        first = clock() - start
        row = dict(self.base, **{"case": str(case), "pass": passes})
        if loss is not None:
            row["loss"] = float(loss(result))
        if gradients is not None:
            row["gradient_norm"] = gradient_norm(gradients(result))
        del result
        one, start, calls = first, clock(), 0
        while first < 8 * self.seconds and clock() - start < min(0.15, self.seconds / 3):
            function()
            calls += 1
            one = (clock() - start) / calls
        inner = max(1, int(100e-6 / max(one, 1e-9)))
        samples, begin = [], clock()
        while len(samples) < 5 or clock() - begin < self.seconds:
            start = clock()
            for _ in range(inner):
                function()
            samples.append((clock() - start) / inner)
            if clock() - begin > 8 * self.seconds:
                break
        row.update({
            "median_us": statistics.median(samples) * 1e6 / per,
            "min_us": min(samples) * 1e6 / per,
            "first_us": first * 1e6, "reps": len(samples) * inner})
        print(json.dumps(row), flush=True)

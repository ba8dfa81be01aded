"""W10: one operation of every family, as lgbench runs them, for NumPy and PyTorch.

A program is a function of its parameters, and the parameters; those of NumPy are run forward only, because
nobody writes their gradients by hand.
"""

import numpy as np

COUNTS = [10, 1000, 1_000_000]
FAMILIES = [
    "add", "exp", "sin", "tanh", "power", "arctan2", "hypot", "sum", "var", "argmax", "softmax",
    "cumsum", "sort", "where", "mask", "rows", "slice", "concatenate", "einsum", "conv", "solve",
    "normal",
]


def data(family, count):
    """Parameters and constants of a family, NumPy arrays."""
    random = np.random.RandomState(10)

    def array(*shape):
        return (random.uniform(size=shape) + 0.25).astype(np.float32)

    side = int(count ** 0.5)
    if family in ("add", "power", "arctan2", "hypot", "slice", "concatenate"):
        return [array(count), array(count)], []
    if family == "where":
        return [array(count), array(count)], [np.arange(count) % 3 == 0]
    if family == "mask":
        return [array(count)], [random.uniform(size=count) < 0.5]
    if family == "argmax":
        return [], [array(count // 10, 10)]
    if family == "softmax":
        return [array(count // 10, 10)], []
    if family == "rows":
        rows = max(count // 10, 1)
        return [array(rows, 10)], [random.randint(0, rows, rows)]
    if family == "einsum":
        return [array(side, side), array(side, side)], []
    if family == "conv":
        return [array(1, 8, count // 8 + 2), array(8, 8, 3)], []
    if family == "solve":
        return [array(side, side), array(side)], [np.eye(side, dtype=np.float32) * side]
    if family == "normal":
        return [], [count]
    return [array(count)], []


def numpy_program(family):
    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def slice_update(a, b):
        x = a.copy()
        half = len(x) // 2
        x[:half] += b[:half]
        return x

    def conv(x, filters):
        windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=2)
        return np.tensordot(windows, filters, ([1, 3], [1, 2])).transpose(0, 2, 1)

    generator = np.random.default_rng(1)
    return {
        "add": np.add, "exp": np.exp, "sin": np.sin, "tanh": np.tanh, "power": np.power,
        "arctan2": np.arctan2, "hypot": np.hypot, "sum": np.sum, "var": np.var,
        "argmax": lambda x: x.argmax(1), "softmax": softmax, "cumsum": np.cumsum, "sort": np.sort,
        "where": lambda a, b, mask: np.where(mask, a, b), "mask": lambda a, mask: a[mask],
        "rows": lambda table, places: table[places], "slice": slice_update,
        "concatenate": lambda a, b: np.concatenate([a, b]),
        "einsum": lambda a, b: np.einsum("ij,kj->ik", a, b, optimize=True), "conv": conv,
        "solve": lambda x, y, eye: np.linalg.solve(x + eye, y),
        "normal": lambda count: generator.standard_normal(count, dtype=np.float32),
    }[family]


def torch_program(family):
    import torch

    def slice_update(a, b):
        x = a.clone()
        half = len(x) // 2
        x[:half] += b[:half]
        return x

    return {
        "add": torch.add, "exp": torch.exp, "sin": torch.sin, "tanh": torch.tanh,
        "power": torch.pow, "arctan2": torch.atan2, "hypot": torch.hypot, "sum": torch.sum,
        "var": lambda x: torch.var(x, correction=0), "argmax": lambda x: x.argmax(1),
        "softmax": lambda x: torch.softmax(x, -1), "cumsum": lambda x: x.cumsum(0),
        "sort": lambda x: x.sort().values, "where": lambda a, b, mask: torch.where(mask, a, b),
        "mask": lambda a, mask: a[mask], "rows": lambda table, places: table[places],
        "slice": slice_update, "concatenate": lambda a, b: torch.cat([a, b]),
        "einsum": lambda a, b: torch.einsum("ij,kj->ik", a, b),
        "conv": torch.nn.functional.conv1d,
        "solve": lambda x, y, eye: torch.linalg.solve(x + eye, y),
        "normal": lambda count: torch.randn(count),
    }[family]

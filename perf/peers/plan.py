"""What perf/compare.sh compares: the workloads, their cases, and who runs them in which mode.

run.py runs it, summarise.py and charts.py show it.
"""

import common as c


class Peer:
    """A line of the tables: a peer in one mode.

    `modes` maps passes to modes where they differ; `variables` maps workloads to variables of the
    environment that serve the peer best there; `needs` is a program that the machine must have.
    """

    def __init__(self, label, name, mode, workloads, modes=None, variables=None, needs=""):
        self.label, self.name, self.needs = label, name, needs
        self.workloads = workloads.split()
        self.modes = modes or {"train": mode, "forward": mode}
        self.variables = variables or {}

    def runs(self, workload):
        """(mode, passes) of each program that the workload needs."""
        passes = {}
        for name in WORKLOADS[workload].passes:
            if name in self.modes:
                passes.setdefault(self.modes[name], []).append(name)
        return list(passes.items())

    def environment(self, workload):
        return {**self.variables.get("", {}), **self.variables.get(workload, {})}


class Workload:
    """`groups` are cases that one program runs in one go; `command` and `rows` are lgbench's words
    for a group and how many rows share its budget; `c` is the C program's line, if there is one.
    `checked`: the rows have losses, otherwise the programs compare results themselves."""

    def __init__(self, title, passes, groups, command, rows, c=None, checked=True):
        self.title, self.passes, self.groups = title, passes, groups
        self.command, self.rows, self.c, self.checked = command, rows, c, checked

    def cases(self):
        return [case for group in self.groups for case in group]


# A forward pass alone keeps nothing for gradients: lgbench and MyGrad run it without autodiff.
OURS = {"train": "guard", "forward": "noautodiff"}
BOTH = ["train", "forward"]
PRODUCTS = ["x".join(map(str, size)) for size in c.MATMUL_SIZES]

WORKLOADS = {
    "W1": Workload("Recurrent network, a loop over time", BOTH, [["S"], ["M"], ["L"]],
                   lambda cases: ["rnn", "--preset", cases[0],
                                  "--modes", "guard,unguarded,noautodiff"], 5,
                   lambda case, data, seconds: ["rnn", case, f"{data}/rnn_{case}.bin", seconds]),
    "W2": Workload("Elementwise chain, by elements", BOTH, [[str(n)] for n in c.CHAIN_SIZES],
                   lambda cases: ["chain", "--cases", cases[0]], 2,
                   lambda case, data, seconds: ["ew", data, seconds, case]),
    "W3": Workload("Matrix products", ["forward"], [PRODUCTS[:5], PRODUCTS[5:]],
                   lambda cases: ["matmul", "--cases", ",".join(cases)], 5,
                   lambda case, data, seconds: (
                       ["peak", "multiply_add"] if case == PRODUCTS[0] else None), checked=False),
    "W4": Workload("Training step of a perceptron", ["train"], [["mlp"]],
                   lambda cases: ["mlp"], 1),
    "W5": Workload("Chain of 1000 additions of 4 numbers, per addition", BOTH, [["chain"]],
                   lambda cases: ["overhead"], 8),
    "W6": Workload("Sums, softmax and a transposed copy", ["forward"],
                   [["sum0", "sum1", "softmax", "transpose"]],
                   lambda cases: ["reduce"], 4,
                   lambda case, data, seconds: ["reduce", seconds] if case == "sum0" else None,
                   checked=False),
    "W7": Workload("64 trees and 64 sequences, one at a time", BOTH, [["trees"], ["sequences"]],
                   lambda cases: ["irregular", "--cases", cases[0]], 2),
}

# One thread, and no hand-over to it.
JAX = {"": {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
            "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false", "JAX_PLATFORMS": "cpu"}}
# Large pages for large arrays.
TORCH = {"W2": {"THP_MEM_ALLOC_ENABLE": "1"}}

PEERS = [
    Peer("MyGrad", "mygrad", "guard", "W1 W2 W4 W5 W7",
         modes={"train": "guard", "forward": "noautodiff"}),
    Peer("autograd", "autograd", "default", "W1 W2 W4 W5"),
    Peer("PyTorch", "torch", "eager", "W1 W2 W3 W4 W5 W6 W7", variables=TORCH),
    Peer("PyTorch, compiled", "torch", "compile", "W1 W2 W4", variables=TORCH, needs="g++"),
    Peer("JAX", "jax", "jit", "W1 W2 W3 W4 W5 W6", variables=JAX),
    Peer("JAX, scan", "jax", "scan", "W1", variables=JAX),
    Peer("DyNet", "dynet", "default", "W1 W2 W4 W5"),
    Peer("DyNet, batching", "dynet", "autobatch", "W7"),
    Peer("Dr.Jit", "drjit", "default", "W2 W5 W6"),
    Peer("NumPy", "numpy", "manual", "W1 W2 W3 W4 W5 W6"),
    Peer("NumPy, hoisted", "numpy", "batched", "W1"),
    Peer("C, simple loops", "c", "simple", "W1"),
    Peer("C by hand", "c", "blocked", "W1"),
    Peer("C by hand", "c", "fused", "W2 W6"),
]
# Their compiled code stays on disk, so only their first round has first calls that compile.
CACHED = ("PyTorch, compiled", "Dr.Jit")

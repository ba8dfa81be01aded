"""Dr.Jit's LLVM backend: W2, W5 and the sums of W6. It has no products of large matrices.

Dr.Jit needs a shared library of LLVM and keeps compiled kernels below the user's home folder.
"""

import drjit as dr
import numpy as np
from drjit.llvm.ad import Float, TensorXf

import common as c

args = c.arguments(["default"], ["W2", "W5", "W6"])
bench = c.Bench("drjit", dr.__version__, args)
dr.set_thread_count(0)


def measure(case, loss, parameters, *constants, per=1):
    """Times `loss(*parameters, *constants)` alone and with the gradients of the parameters."""

    def forward():
        value = loss(*parameters, *constants)
        dr.eval(value)
        dr.sync_thread()
        return value

    def train():
        variables = [Float(p) for p in parameters]
        dr.enable_grad(*variables)
        value = loss(*variables, *constants)
        dr.backward(value)
        gradients = [dr.grad(v) for v in variables]
        dr.eval(value, *gradients)
        dr.sync_thread()
        return value, gradients

    bench.run(case, "train", train, lambda result: result[0].numpy()[0],
              lambda result: [g.numpy() for g in result[1]], per)
    bench.run(case, "forward", forward, lambda value: value.numpy()[0], per=per)


def chain():
    def loss(x, y, z):
        return dr.sum(dr.tanh(x * y + z) * dr.exp(-x * x))

    for n in c.chosen(args, c.CHAIN_SIZES):
        operands = [Float(v) for v in c.chain_data(n)]
        dr.eval(*operands)
        dr.sync_thread()
        measure(n, loss, operands)


def overhead():
    start, increment = map(Float, c.overhead_data())
    dr.eval(start, increment)

    def loss(y, increment):
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return dr.sum(y)

    measure("chain", loss, [start], increment, per=c.OVERHEAD_LENGTH)


def reduce():
    x = TensorXf(c.reduce_data()[0])
    dr.eval(x)
    expected = c.reduce_results()

    for name, axis in (("sum0", 0), ("sum1", 1)):
        if name not in c.chosen(args, ["sum0", "sum1"]):
            continue

        def forward():
            value = dr.sum(x, axis=axis)
            dr.eval(value)
            dr.sync_thread()
            return value

        bench.run(name, "forward", forward)
        c.check(name, forward().numpy(), expected[name]())


{"W2": chain, "W5": overhead, "W6": reduce}[args.workload]()

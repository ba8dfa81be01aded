"""autograd, which traces NumPy: W1, W2, W4 and W5."""

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

import common as c

args = c.arguments(["default"], ["W1", "W2", "W4", "W5"])
bench = c.Bench("autograd", c.version("autograd"), args)


def cross_entropy(z, labels):
    z = z - anp.max(z, 1, keepdims=True)
    return anp.mean(anp.log(anp.sum(anp.exp(z), 1)) - z[np.arange(len(labels)), labels])


def measure(case, loss, parameters, per=1):
    """Times `loss(parameters)` alone, which is not traced then, and with gradients."""
    gradients = value_and_grad(loss)
    bench.run(case, "train", lambda: gradients(parameters), c.first, c.second, per)
    bench.run(case, "forward", lambda: loss(parameters), float, per=per)


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        _, batch, _, hidden, _ = c.RNN_SIZES[size]
        x, labels, parameters = c.rnn_data(size)
        xs, h0 = list(x), np.zeros((batch, hidden), c.f32)

        def loss(parameters):
            wx, wh, b, wo, bo = parameters
            h = h0
            for step in xs:
                h = anp.tanh(anp.dot(step, wx) + anp.dot(h, wh) + b)
            return cross_entropy(anp.dot(h, wo) + bo, labels)

        measure(size, loss, tuple(parameters))


def chain():
    def loss(operands):
        x, y, z = operands
        return anp.sum(anp.tanh(x * y + z) * anp.exp(-x * x))

    for n in c.chosen(args, c.CHAIN_SIZES):
        measure(n, loss, tuple(c.chain_data(n)))


def mlp():
    x, labels, parameters = c.mlp_data()
    parameters = tuple(parameters)

    def loss(parameters):
        w1, b1, w2, b2, w3, b3 = parameters
        h = anp.maximum(anp.dot(x, w1) + b1, 0)
        h = anp.maximum(anp.dot(h, w2) + b2, 0)
        return cross_entropy(anp.dot(h, w3) + b3, labels)

    gradients = value_and_grad(loss)

    def step():
        value, found = gradients(parameters)
        for p, g in zip(parameters, found):
            p -= c.LEARNING_RATE * g
        return value

    bench.run("mlp", "train", step, float)


def overhead():
    start, increment = c.overhead_data()

    def loss(parameters):
        y = parameters[0]
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return anp.sum(y)

    measure("chain", loss, (start,), per=c.OVERHEAD_LENGTH)


{"W1": rnn, "W2": chain, "W4": mlp, "W5": overhead}[args.workload]()

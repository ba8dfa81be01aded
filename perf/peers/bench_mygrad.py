"""MyGrad: guard (its default), unguarded, noautodiff (forward only)."""

from contextlib import nullcontext

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import relu, sigmoid, softmax
from mygrad.nnet.losses import softmax_crossentropy

import common as c
import irregular as irregular_programs
import small as small_programs

args = c.arguments(["guard", "unguarded", "noautodiff"], ["W1", "W2", "W4", "W5", "W7", "W9"])
bench = c.Bench("mygrad", mg.__version__, args)
if args.mode == "unguarded":
    mg.turn_memory_guarding_off()
TRACKED = args.mode != "noautodiff"


def measure(case, loss, parameters, per=1):
    """Times `loss` alone and with the gradients of `parameters`."""

    def forward():
        with nullcontext() if TRACKED else mg.no_autodiff:
            return loss()

    def train():
        value = loss()
        value.backward()
        return value

    if TRACKED:
        bench.run(case, "train", train, lambda value: value.data,
                  lambda value: [p.grad for p in parameters], per)
    bench.run(case, "forward", forward, lambda value: value.data, per=per)


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        _, batch, _, hidden, _ = c.RNN_SIZES[size]
        x, labels, parameters = c.rnn_data(size)
        wx, wh, b, wo, bo = parameters = [mg.tensor(p) for p in parameters]
        xs = [mg.tensor(step, constant=True) for step in x]
        h0 = mg.zeros((batch, hidden), dtype=c.f32, constant=True)

        def loss():
            h = h0
            for step in xs:
                h = mg.tanh(step @ wx + h @ wh + b)
            return softmax_crossentropy(h @ wo + bo, labels)

        measure(size, loss, parameters)


def chain():
    for n in c.chosen(args, c.CHAIN_SIZES):
        x, y, z = operands = [mg.tensor(v) for v in c.chain_data(n)]
        measure(n, lambda: (mg.tanh(x * y + z) * mg.exp(-x * x)).sum(), operands)


def mlp():
    x, labels, parameters = c.mlp_data()
    w1, b1, w2, b2, w3, b3 = parameters = [mg.tensor(p) for p in parameters]
    x = mg.tensor(x, constant=True)

    def step():
        logits = relu(relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        value = softmax_crossentropy(logits, labels)
        value.backward()
        for p in parameters:
            p.data -= c.LEARNING_RATE * p.grad
        return float(value.data)

    if TRACKED:
        bench.run("mlp", "train", step, float)


def overhead():
    start, increment = c.overhead_data()
    start, increment = mg.tensor(start), mg.tensor(increment, constant=True)

    def loss():
        y = start
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return y.sum()

    measure("chain", loss, [start], per=c.OVERHEAD_LENGTH)


def irregular():
    for case in c.chosen(args, irregular_programs.CASES):
        structures, inputs, labels, parameters = irregular_programs.data(case)
        inputs = [[mg.tensor(x, constant=True) for x in sample] for sample in inputs]
        labels = [np.array([label]) for label in labels]
        parameters = [mg.tensor(p) for p in parameters]
        start = mg.zeros((1, irregular_programs.WIDTH), dtype=c.f32, constant=True)

        def loss():
            return irregular_programs.loss(case, mg, sigmoid, softmax_crossentropy, structures,
                                           inputs, labels, parameters, start)

        measure(case, loss, parameters)


def small():
    for case in c.chosen(args, list(small_programs.PROGRAMS)):
        constants, parameters = small_programs.data(case)
        constants = [mg.tensor(v, constant=True) for v in constants]
        parameters = [mg.tensor(v) for v in parameters]
        program = small_programs.PROGRAMS[case][0]
        measure(case, lambda: program(mg, softmax, *constants, *parameters), parameters)


{"W1": rnn, "W2": chain, "W4": mlp, "W5": overhead,
 "W7": irregular, "W9": small}[args.workload]()

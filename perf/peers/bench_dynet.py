"""DyNet: default, and autobatch (W7 only), which batches operations of a graph by itself.

Columns are DyNet's vectors, so matrices stand transposed here. Numbers that go in are kept in lookup
tables: an input expression converts each from Python on every pass.
"""

import sys

import numpy as np

import common as c
import irregular as irregular_programs

args = c.arguments(["default", "autobatch"], ["W1", "W2", "W4", "W5", "W7"])
# DyNet reads the command line when it is imported.
sys.argv = sys.argv[:1] + ["--dynet-mem", "1024"]
if args.mode == "autobatch":
    sys.argv += ["--dynet-autobatch", "1"]
import dynet as dy  # noqa: E402

bench = c.Bench("dynet", c.version("dyNET38", "dyNET"), args)
collection = dy.ParameterCollection()


def variables(arrays):
    return [collection.parameters_from_numpy(np.ascontiguousarray(a.T)) for a in arrays]


def table(rows):
    return collection.lookup_parameters_from_numpy(np.ascontiguousarray(rows))


def measure(case, loss, parameters, per=1):
    """Times `loss` alone and with the gradients of `parameters`."""

    def train():
        for p in parameters:
            p.scale_gradient(0)
        expression = loss()
        value = expression.value()
        expression.backward()
        return value

    bench.run(case, "train", train, float, lambda value: [p.grad_as_array() for p in parameters], per)
    bench.run(case, "forward", lambda: loss().value(), float, per=per)


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        steps, batch, inputs, hidden, _ = c.RNN_SIZES[size]
        x, labels, parameters = c.rnn_data(size)
        wx, wh, b, wo, bo = parameters = variables(parameters)
        xs = table(x.reshape(steps * batch, inputs))
        h0 = table(np.zeros((1, hidden), c.f32))
        labels = [int(label) for label in labels]
        rows = [list(range(t * batch, (t + 1) * batch)) for t in range(steps)]

        def loss():
            dy.renew_cg()
            h = dy.lookup_batch(h0, [0] * batch, update=False)
            for t in range(steps):
                step = dy.lookup_batch(xs, rows[t], update=False)
                h = dy.tanh(dy.affine_transform([b, wx, step, wh, h]))
            logits = dy.affine_transform([bo, wo, h])
            return dy.mean_batches(dy.pickneglogsoftmax_batch(logits, labels))

        measure(size, loss, parameters)


def chain():
    for n in c.chosen(args, c.CHAIN_SIZES):
        x, y, z = operands = variables(c.chain_data(n))

        def loss():
            dy.renew_cg()
            return dy.sum_elems(
                dy.cmult(dy.tanh(dy.cmult(x, y) + z), dy.exp(-dy.cmult(x, x))))

        measure(n, loss, operands)


def mlp():
    x, labels, parameters = c.mlp_data()
    w1, b1, w2, b2, w3, b3 = variables(parameters)
    xs, rows = table(x), list(range(len(x)))
    labels = [int(label) for label in labels]
    trainer = dy.SimpleSGDTrainer(collection, learning_rate=c.LEARNING_RATE)
    trainer.set_clip_threshold(0)

    def step():
        dy.renew_cg()
        h = dy.lookup_batch(xs, rows, update=False)
        h = dy.rectify(dy.affine_transform([b1, w1, h]))
        h = dy.rectify(dy.affine_transform([b2, w2, h]))
        logits = dy.affine_transform([b3, w3, h])
        loss = dy.mean_batches(dy.pickneglogsoftmax_batch(logits, labels))
        value = loss.value()
        loss.backward()
        trainer.update()
        return value

    bench.run("mlp", "train", step, float)


def overhead():
    start, increment = c.overhead_data()
    start, increment = variables([start])[0], table(increment[None])

    def loss():
        dy.renew_cg()
        y, step = start, dy.lookup(increment, 0, update=False)
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + step
        return dy.sum_elems(y)

    measure("chain", loss, [start], per=c.OVERHEAD_LENGTH)


def tree_lstm(nodes, inputs, p):
    """That of irregular.py, with a weight per kind of node in one affine transformation each."""
    (wi, ui, bi), (wo, uo, bo), (wu, uu, bu), (uf, bf) = p[0:3], p[3:6], p[6:9], p[9:11]
    states, leaf = [], 0
    for node in nodes:
        if node is None:
            x = inputs[leaf]
            leaf += 1
            i = dy.logistic(dy.affine_transform([bi, wi, x]))
            o = dy.logistic(dy.affine_transform([bo, wo, x]))
            c_ = dy.cmult(i, dy.tanh(dy.affine_transform([bu, wu, x])))
        else:
            (h1, c1), (h2, c2) = states[node[0]], states[node[1]]
            h = h1 + h2
            i = dy.logistic(dy.affine_transform([bi, ui, h]))
            o = dy.logistic(dy.affine_transform([bo, uo, h]))
            f1 = dy.logistic(dy.affine_transform([bf, uf, h1]))
            f2 = dy.logistic(dy.affine_transform([bf, uf, h2]))
            c_ = (dy.cmult(i, dy.tanh(dy.affine_transform([bu, uu, h])))
                  + dy.cmult(f1, c1) + dy.cmult(f2, c2))
        states.append((dy.cmult(o, dy.tanh(c_)), c_))
    return states[-1][0]


def gru(inputs, p, h):
    (wz, uz, bz), (wr, ur, br), (wn, un, bn) = p[0:3], p[3:6], p[6:9]
    for x in inputs:
        z = dy.logistic(dy.affine_transform([bz, wz, x, uz, h]))
        r = dy.logistic(dy.affine_transform([br, wr, x, ur, h]))
        n = dy.tanh(dy.affine_transform([bn, wn, x, un, dy.cmult(r, h)]))
        # (1 - z) n + z h
        h = n + dy.cmult(z, h - n)
    return h


def irregular():
    for case in c.chosen(args, irregular_programs.CASES):
        structures, inputs, labels, parameters = irregular_programs.data(case)
        width, samples = irregular_programs.WIDTH, irregular_programs.SAMPLES
        xs, h0 = table(np.concatenate(inputs).reshape(-1, width)), table(np.zeros((1, width), c.f32))
        ends = np.cumsum([len(x) for x in inputs])
        p = variables(parameters)

        def loss():
            dy.renew_cg()
            start = dy.lookup(h0, 0, update=False)
            losses = []
            for nodes, x, end, label in zip(structures, inputs, ends, labels):
                steps = [dy.lookup(xs, k, update=False) for k in range(end - len(x), end)]
                h = tree_lstm(nodes, steps, p) if case == "trees" else gru(steps, p, start)
                losses.append(dy.pickneglogsoftmax(dy.affine_transform([p[-1], p[-2], h]), label))
            return dy.esum(losses) / samples

        measure(case, loss, p)


{"W1": rnn, "W2": chain, "W4": mlp, "W5": overhead, "W7": irregular}[args.workload]()

"""NumPy with hand-written gradients.

Mode `batched` (W1 only) hoists the input projection and the weight gradients out of the time loop
into single matrix products, which is what an expert would write.
"""

import numpy as np

import common as c
import operations
import small as small_programs

args = c.arguments(["manual", "batched"], ["W1", "W2", "W3", "W4", "W5", "W6", "W9", "W10"])
bench = c.Bench("numpy", np.__version__, args)


def cross_entropy(z, labels):
    """The mean loss and its gradient with respect to the logits."""
    z = z - z.max(1, keepdims=True)
    e = np.exp(z)
    s = e.sum(1, keepdims=True)
    batch = len(labels)
    rows = np.arange(batch)
    loss = float((np.log(s[:, 0]) - z[rows, labels]).mean())
    d = e / s
    d[rows, labels] -= 1
    d /= batch
    return loss, d


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        steps, batch, inputs, hidden, _ = c.RNN_SIZES[size]
        x, labels, (wx, wh, b, wo, bo) = c.rnn_data(size)
        xs = list(x)
        h0 = np.zeros((batch, hidden), c.f32)

        def states(keep):
            h, kept = h0, [h0]
            for t in range(steps):
                z = xs[t] @ wx
                z += h @ wh
                z += b
                h = np.tanh(z, out=z)
                if keep:
                    kept.append(h)
            return h, kept

        def states_batched():
            z = (x.reshape(steps * batch, inputs) @ wx + b).reshape(steps, batch, hidden)
            h = h0
            for t in range(steps):
                z[t] += h @ wh
                h = np.tanh(z[t], out=z[t])
            return h, z

        def forward():
            h = states_batched()[0] if args.mode == "batched" else states(False)[0]
            return cross_entropy(h @ wo + bo, labels)[0]

        def train():
            h, kept = states(True)
            loss, d = cross_entropy(h @ wo + bo, labels)
            dwo, dbo, dh = h.T @ d, d.sum(0), d @ wo.T
            dwx, dwh, db = np.zeros_like(wx), np.zeros_like(wh), np.zeros_like(b)
            for t in range(steps - 1, -1, -1):
                dz = kept[t + 1] * kept[t + 1]
                np.subtract(1, dz, out=dz)
                dz *= dh
                dwx += xs[t].T @ dz
                dwh += kept[t].T @ dz
                db += dz.sum(0)
                dh = dz @ wh.T
            return loss, (dwx, dwh, db, dwo, dbo)

        def train_batched():
            h, kept = states_batched()
            loss, d = cross_entropy(h @ wo + bo, labels)
            dwo, dbo, dh = h.T @ d, d.sum(0), d @ wo.T
            dz, wht = 1 - kept * kept, wh.T.copy()
            for t in range(steps - 1, -1, -1):
                dz[t] *= dh
                if t:
                    dh = dz[t] @ wht
            flat = dz.reshape(steps * batch, hidden)
            dwx = x.reshape(steps * batch, inputs).T @ flat
            earlier = kept[:-1].reshape((steps - 1) * batch, hidden)
            dwh = earlier.T @ dz[1:].reshape((steps - 1) * batch, hidden)
            return loss, (dwx, dwh, flat.sum(0), dwo, dbo)

        step = train_batched if args.mode == "batched" else train
        bench.run(size, "train", step, c.first, c.second)
        bench.run(size, "forward", forward, float)


def chain():
    for n in c.chosen(args, c.CHAIN_SIZES):
        x, y, z = c.chain_data(n)

        def forward():
            return float((np.tanh(x * y + z) * np.exp(-x * x)).sum())

        def train():
            t = x * y
            t += z
            np.tanh(t, out=t)
            e = x * x
            np.negative(e, out=e)
            np.exp(e, out=e)
            te = t * e
            loss = te.sum()
            dz = t * t
            np.subtract(1, dz, out=dz)
            dz *= e
            dy = dz * x
            dx = dz * y
            te *= x
            te *= 2
            dx -= te
            return float(loss), (dx, dy, dz)

        bench.run(n, "train", train, c.first, c.second)
        bench.run(n, "forward", forward, float)


def matmul():
    names = ["x".join(map(str, size)) for size in c.MATMUL_SIZES]
    for name in c.chosen(args, names):
        pairs = c.matmul_data(*map(int, name.split("x")))
        bench.run(name, "forward", lambda: [a @ b for a, b in pairs], per=len(pairs))


def reduce():
    x, y = c.reduce_data()

    def softmax():
        z = y - y.max(1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(1, keepdims=True)
        return z

    cases = {"sum0": lambda: x.sum(0), "sum1": lambda: x.sum(1), "softmax": softmax,
             "transpose": lambda: x.T.copy()}
    for name in c.chosen(args, list(cases)):
        bench.run(name, "forward", cases[name])


def mlp():
    x, labels, (w1, b1, w2, b2, w3, b3) = c.mlp_data()

    def layer(value, w, b):
        z = value @ w
        z += b
        return np.maximum(z, 0, out=z)

    def step():
        z1 = layer(x, w1, b1)
        z2 = layer(z1, w2, b2)
        loss, d3 = cross_entropy(z2 @ w3 + b3, labels)
        d2 = d3 @ w3.T
        d2 *= z2 > 0
        d1 = d2 @ w2.T
        d1 *= z1 > 0
        gradients = ((w3, z2.T @ d3), (b3, d3.sum(0)), (w2, z1.T @ d2), (b2, d2.sum(0)),
                     (w1, x.T @ d1), (b1, d1.sum(0)))
        for p, g in gradients:
            g *= c.LEARNING_RATE
            p -= g
        return loss

    bench.run("mlp", "train", step, float)


def overhead():
    start, increment = c.overhead_data()

    def forward():
        y = start
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return y

    bench.run("chain", "forward", forward, np.sum, per=c.OVERHEAD_LENGTH)


def small():
    """Forward only: nobody writes these gradients by hand."""

    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    for case in c.chosen(args, list(small_programs.PROGRAMS)):
        constants, parameters = small_programs.data(case)
        program = small_programs.PROGRAMS[case][0]

        def forward():
            return float(program(np, softmax, *constants, *parameters))

        bench.run(case, "forward", forward, float)


def ops():
    """Forward only as well."""
    for family in c.chosen(args, operations.FAMILIES):
        for count in operations.COUNTS:
            parameters, constants = operations.data(family, count)
            program = operations.numpy_program(family)

            def forward():
                return program(*parameters, *constants)

            bench.run(f"{family}/{count}", "forward", forward)


{"W1": rnn, "W2": chain, "W3": matmul, "W4": mlp, "W5": overhead,
 "W6": reduce, "W9": small, "W10": ops}[args.workload]()

"""W7 written once for everything that has NumPy's names: networks whose shape hangs on the sample."""

import numpy

SAMPLES = 64
WIDTH = 64
CLASSES = 5
LEAVES = (5, 40)
STEPS = (5, 100)

CASES = ("trees", "sequences")


def trees(random):
    """Each a list of nodes in the order of their evaluation: None for a leaf, else two earlier positions."""
    result = []
    for _ in range(SAMPLES):
        count = LEAVES[0] + int(random.randint(0, LEAVES[1] - LEAVES[0] + 1, size=1)[0])
        nodes = [None] * count
        open_nodes = list(range(count))
        while len(open_nodes) > 1:
            k = int(random.randint(0, len(open_nodes) - 1, size=1)[0])
            nodes.append((open_nodes[k], open_nodes[k + 1]))
            open_nodes[k:k + 2] = [len(nodes) - 1]
        result.append(nodes)
    return result


def data(case):
    """The structures, the inputs of each sample, the labels and the parameters, as lgbench draws them."""
    random = numpy.random.RandomState(9 if case == "trees" else 10)
    f32 = numpy.float32
    if case == "trees":
        structures = trees(random)
        lengths = [sum(node is None for node in nodes) for nodes in structures]
        shapes = [(WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,)] * 3 + [(WIDTH, WIDTH), (WIDTH,)]
    else:
        lengths = [STEPS[0] + int(n) for n in random.randint(0, STEPS[1] - STEPS[0] + 1, size=SAMPLES)]
        structures = lengths
        shapes = [(WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH,)] * 3
    labels = [int(n) for n in random.randint(0, CLASSES, size=SAMPLES)]
    inputs = [random.randn(n, 1, WIDTH).astype(f32) for n in lengths]
    shapes += [(WIDTH, CLASSES), (CLASSES,)]
    parameters = [
        (random.randn(*shape) * (0.1 if len(shape) == 1 else 1 / numpy.sqrt(WIDTH))).astype(f32)
        for shape in shapes]
    return structures, inputs, labels, parameters


def tree_lstm(np, sigmoid, nodes, inputs, p):
    """The child-sum tree LSTM of Tai, Socher and Manning (2015), with words at the leaves only."""
    (wi, ui, bi), (wo, uo, bo), (wu, uu, bu), (uf, bf) = p[0:3], p[3:6], p[6:9], p[9:11]
    states = []
    leaf = 0
    for node in nodes:
        if node is None:
            x = inputs[leaf]
            leaf += 1
            i, o, u = sigmoid(x @ wi + bi), sigmoid(x @ wo + bo), np.tanh(x @ wu + bu)
            c = i * u
        else:
            (h1, c1), (h2, c2) = states[node[0]], states[node[1]]
            h = h1 + h2
            i, o, u = sigmoid(h @ ui + bi), sigmoid(h @ uo + bo), np.tanh(h @ uu + bu)
            c = i * u + sigmoid(h1 @ uf + bf) * c1 + sigmoid(h2 @ uf + bf) * c2
        states.append((o * np.tanh(c), c))
    return states[-1][0]


def gru(np, sigmoid, steps, inputs, p, h):
    (wz, uz, bz), (wr, ur, br), (wn, un, bn) = p[0:3], p[3:6], p[6:9]
    for x in inputs:
        z = sigmoid(x @ wz + h @ uz + bz)
        r = sigmoid(x @ wr + h @ ur + br)
        n = np.tanh(x @ wn + (r * h) @ un + bn)
        h = (1 - z) * n + z * h
    return h


def loss(case, np, sigmoid, crossentropy, structures, inputs, labels, p, start):
    """The mean over the samples, one sample at a time."""
    total = None
    for structure, x, label in zip(structures, inputs, labels):
        if case == "trees":
            h = tree_lstm(np, sigmoid, structure, x, p)
        else:
            h = gru(np, sigmoid, structure, x, p, start)
        value = crossentropy(h @ p[-2] + p[-1], label)
        total = value if total is None else total + value
    return total / SAMPLES

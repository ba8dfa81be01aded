"""W9 written once for everything that has NumPy's names: `np` is numpy, mygrad, torch or jax.numpy."""


def attention(np, softmax, x, target, wq, wk, wv, wo):
    q, k, v = x @ wq, x @ wk, x @ wv
    y = softmax(q @ k.T * 0.3535533905932738) @ v @ wo
    return ((y - target) ** 2).mean()


def layer_norm(np, softmax, weight, x, gain, bias):
    d = x - x.mean(1)[:, None]
    y = d / np.sqrt((d ** 2).mean(1)[:, None] + 1e-5) * gain + bias
    return (y * weight).sum()


def kalman(np, softmax, h, x, root, z, f, noise):
    before = f @ x
    p = f @ (root @ root.T) @ f.T + noise ** 2
    ph = p @ h.T
    s = h @ ph + 0.1
    y = z - h @ before
    gain = ph / s
    after = before + gain * y
    covariance = p - gain @ ph.T
    return (0.5 * (y ** 2 / s + np.log(s))).sum() + (after ** 2).sum() + covariance.sum()


# Name: the program, the shapes of its constants and of its parameters, the seed.
PROGRAMS = {
    "attention": (attention, [(4, 8)] * 2, [(8, 8)] * 4, 5),
    "layerNorm": (layer_norm, [(4, 16)], [(4, 16), (16,), (16,)], 6),
    "kalman": (kalman, [(1, 4), (4, 1), (4, 4), (1, 1)], [(4, 4), (4,)], 7),
}


def data(case):
    """The constants and the parameters of a program, as lgbench draws them."""
    import numpy

    _, constants, parameters, seed = PROGRAMS[case]
    random = numpy.random.RandomState(seed)
    drawn = [(0.5 * random.randn(*shape)).astype(numpy.float32) for shape in constants + parameters]
    return drawn[: len(constants)], drawn[len(constants):]

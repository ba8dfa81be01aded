"""Writes programs.json, the results that ProgramTests compares with: python3 generate.py

Needs NumPy and JAX. Nothing here comes from LazyGrad: values are computed by NumPy, gradients by JAX, all
in float64. Data and first weights are made by a small formula, `noise`, that Fixture.swift has as well.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)


class Noise:
    """Numbers from -1 to 1 by a linear congruential generator (Knuth's MMIX constants)."""

    def __init__(self, seed):
        self.state = seed

    def number(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2**52 - 1

    def array(self, *shape, scale=1.0):
        values = [self.number() * scale for _ in range(int(np.prod(shape)))]
        return np.array(values).reshape(shape)


def descend(loss, parameters, rate, steps):
    """Plain gradient descent: the losses before each step, and the parameters after the last."""
    step = jax.jit(jax.value_and_grad(loss))
    losses = []
    for _ in range(steps):
        value, gradient = step(parameters)
        parameters = [p - rate * g for p, g in zip(parameters, gradient)]
        losses.append(value)
    return np.array(losses), parameters


def cross_entropy(scores, labels):
    chosen = scores[jnp.arange(len(labels)), labels]
    return jnp.mean(jax.scipy.special.logsumexp(scores, axis=1) - chosen)


def recurrent_network():
    text = "to be or not to be, that is the question"
    letters = sorted(set(text))
    codes = [letters.index(c) for c in text]
    noise, size = Noise(1), 20
    parameters = [
        noise.array(len(letters), size, scale=0.5),
        noise.array(size, size, scale=0.3),
        np.zeros(size),
        noise.array(size, len(letters), scale=0.5),
    ]

    def step(parameters, letter, hidden):
        embedding, recurrent, bias, _ = parameters
        return jnp.tanh(embedding[letter] + hidden @ recurrent + bias)

    def loss(parameters):
        hidden, states = jnp.zeros(size), []
        for letter in codes[:-1]:
            hidden = step(parameters, letter, hidden)
            states.append(hidden)
        return cross_entropy(jnp.stack(states) @ parameters[3], jnp.array(codes[1:]))

    losses, parameters = descend(loss, parameters, 0.5, 120)
    hidden, letter, said = np.zeros(size), codes[0], [codes[0]]
    for _ in range(len(text) - 1):
        hidden = step(parameters, letter, hidden)
        letter = int(np.argmax(hidden @ parameters[3]))
        said.append(letter)
    print("recurrent network:", losses[0], losses[-1], "".join(letters[i] for i in said))
    return {"losses": losses, "said": np.array(said)}


# Ten digits, five dots by seven; a row of dots is a number of five bits.
GLYPHS = [
    [14, 17, 19, 21, 25, 17, 14], [4, 12, 4, 4, 4, 4, 14], [14, 17, 1, 2, 4, 8, 31],
    [31, 2, 4, 2, 1, 17, 14], [2, 6, 10, 18, 31, 2, 2], [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14], [31, 1, 2, 4, 8, 8, 8], [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
]


def digits():
    noise, count = Noise(2), 300
    images, labels = noise.array(count, 8, 8, scale=0.3), [i % 10 for i in range(count)]
    for i, label in enumerate(labels):
        left, top = i // 10 % 4, i // 40 % 2
        for row, bits in enumerate(GLYPHS[label]):
            for column in range(5):
                images[i, top + row, left + column] += bits >> (4 - column) & 1
    pixels, labels = images.reshape(count, 64), np.array(labels)
    parameters = [
        noise.array(64, 32, scale=0.2), np.zeros(32), noise.array(32, 10, scale=0.2), np.zeros(10),
    ]

    def scores(parameters, x):
        w1, b1, w2, b2 = parameters
        return jnp.maximum(x @ w1 + b1, 0) @ w2 + b2

    def loss(parameters, x, y):
        return cross_entropy(scores(parameters, x), y)

    step = jax.jit(jax.value_and_grad(loss))
    velocities, losses = [np.zeros_like(p) for p in parameters], []
    for _ in range(40):
        for start in range(0, 200, 50):
            batch = slice(start, start + 50)
            value, gradient = step(parameters, pixels[batch], labels[batch])
            velocities = [0.9 * v - 0.1 * g for v, g in zip(velocities, gradient)]
            parameters = [p + v for p, v in zip(parameters, velocities)]
        losses.append(value)
    found = np.argmax(scores(parameters, pixels[200:]), axis=1)
    print("digits:", losses[0], losses[-1], np.mean(found == labels[200:]))
    return {
        "losses": np.array(losses), "found": found, "right": np.sum(found == labels[200:]),
        "bias": parameters[3],
    }


def kalman_filter():
    noise, steps, dt = Noise(3), 60, 0.1
    times = np.arange(steps) * dt
    track = np.stack([np.cos(times), 0.5 * times], axis=1)
    measured = track + noise.array(steps, 2, scale=0.3)
    motion = np.eye(4) + dt * np.eye(4, k=2)
    shape = np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2))
    see = np.eye(2, 4)

    def run(logs):
        process, sensor = jnp.exp(logs[0]) * shape, jnp.exp(logs[1]) * jnp.eye(2)
        state, covariance = jnp.zeros(4), 10 * jnp.eye(4)
        likelihood, states = 0.0, []
        for z in measured:
            state, covariance = motion @ state, motion @ covariance @ motion.T + process
            surprise, s = z - see @ state, see @ covariance @ see.T + sensor
            gain = covariance @ see.T @ jnp.linalg.inv(s)
            state, covariance = state + gain @ surprise, (jnp.eye(4) - gain @ see) @ covariance
            likelihood -= 0.5 * (
                surprise @ jnp.linalg.solve(s, surprise)
                + jnp.linalg.slogdet(s)[1] + 2 * jnp.log(2 * jnp.pi))
            states.append(state)
        return likelihood, (jnp.stack(states), covariance)

    step = jax.jit(jax.value_and_grad(run, has_aux=True))
    logs, likelihoods = np.array([0.0, 0.0]), []
    for _ in range(40):
        (value, _), gradient = step(logs)
        likelihoods.append(value)
        logs = logs + 0.02 * gradient
    (value, (states, covariance)), _ = step(logs)
    error = np.sqrt(np.mean((states[20:, :2] - track[20:]) ** 2))
    print("kalman filter:", likelihoods[0], value, "logs", logs, "error", error,
          "of measurements", np.sqrt(np.mean((measured[20:] - track[20:]) ** 2)))
    return {"likelihoods": np.array(likelihoods), "states": states, "covariance": covariance,
            "logs": logs}


def pendulum():
    noise, steps, dt = Noise(4), 100, 0.05

    def swing(parameters):
        def rate(angle, speed):
            return speed, -parameters[0] * jnp.sin(angle) - parameters[1] * speed

        def step(state, _):
            # The midpoint rule.
            angle, speed = state
            a, b = rate(angle, speed)
            a, b = rate(angle + dt / 2 * a, speed + dt / 2 * b)
            angle, speed = angle + dt * a, speed + dt * b
            return (angle, speed), angle

        return jax.lax.scan(step, (1.2, 0.0), length=steps)[1]

    seen = swing(np.array([9.81, 0.3])) + noise.array(steps, scale=0.02)

    def loss(parameters):
        return jnp.mean((swing(parameters[0]) - seen) ** 2)

    gradient = jax.grad(loss)([np.array([9.0, 0.1])])[0]
    losses, fitted = descend(loss, [np.array([9.0, 0.1])], np.array([1.0, 0.05]), 150)
    print("pendulum:", losses[0], losses[-1], fitted)
    return {"seen": seen, "gradient": gradient, "losses": losses, "fitted": fitted[0]}


def gaussian_process():
    noise = Noise(5)
    x = np.linspace(-3, 3, 25)
    y = np.sin(2 * x) + noise.array(25, scale=0.2)
    points = np.linspace(-4, 4, 9)

    def kernel(logs, a, b):
        length, height = jnp.exp(logs[0]), jnp.exp(logs[1])
        return height * jnp.exp(-0.5 * ((a[:, None] - b[None, :]) / length) ** 2)

    def covariance(logs):
        return kernel(logs, x, x) + jnp.exp(logs[2]) * jnp.eye(25)

    def loss(parameters):
        k = covariance(parameters[0])
        return 0.5 * (y @ jnp.linalg.solve(k, y) + jnp.linalg.slogdet(k)[1]
                      + 25 * jnp.log(2 * jnp.pi))

    losses, (logs,) = descend(loss, [np.zeros(3)], 0.02, 100)
    k, across = covariance(logs), kernel(logs, x, points)
    mean = across.T @ np.linalg.solve(k, y)
    variance = np.exp(logs[1]) - np.sum(across * np.linalg.solve(k, across), axis=0)
    print("gaussian process:", losses[0], losses[-1], logs, mean - np.sin(2 * points), variance)
    return {"losses": losses, "logs": logs, "mean": mean, "deviation": np.sqrt(variance)}


def meta_learning():
    noise, size = Noise(6), 16
    weights = [
        noise.array(1, size), noise.array(size), noise.array(size, 1, scale=0.5), np.zeros(1),
    ]
    amplitudes, phases = 1 + 0.5 * noise.array(4), noise.array(4)

    def predict(weights, x):
        return jnp.tanh(x @ weights[0] + weights[1]) @ weights[2] + weights[3]

    def error(weights, x, y):
        return jnp.mean((predict(weights, x) - y) ** 2)

    def adapted(weights, x, y):
        gradient = jax.grad(error)(weights, x, y)
        return [w - 0.1 * g for w, g in zip(weights, gradient)]

    shots, queries = np.linspace(-2, 2, 5)[:, None], np.linspace(-2.5, 2.5, 11)[:, None]

    def meta_loss(weights):
        total = 0.0
        for amplitude, phase in zip(amplitudes, phases):
            fast = adapted(weights, shots, amplitude * np.sin(shots + phase))
            total += error(fast, queries, amplitude * np.sin(queries + phase))
        return total / 4

    gradient = jax.grad(meta_loss)(weights)
    losses, weights = descend(meta_loss, weights, 0.05, 100)
    target = 1.2 * np.sin(queries + 0.4)
    fast = adapted(weights, shots, 1.2 * np.sin(shots + 0.4))
    print("meta-learning:", losses[0], losses[-1],
          "new task", error(weights, queries, target), error(fast, queries, target))
    return {"losses": losses, "gradient": gradient[1], "before": error(weights, queries, target),
            "after": error(fast, queries, target)}


def server():
    results = {}
    for version in (1, 2):
        noise = Noise(6 + version)
        hidden, bias, output = noise.array(4, 8), noise.array(8), noise.array(8, 3)
        requests = np.array([[np.sin(i + j) for j in range(4)] for i in range(40)])
        scores = np.tanh(requests @ hidden + bias) @ output
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        results[f"answers{version}"] = powers / powers.sum(axis=1, keepdims=True)
    return results


def attention():
    noise, batch, length, heads, width = Noise(9), 2, 5, 4, 4
    size = heads * width
    x = noise.array(batch, length, size)
    parameters = [noise.array(size, size, scale=0.5) for _ in range(4)]
    weight = noise.array(batch, length, size)

    def attend(x, parameters):
        def split(w):
            return (x @ w).reshape(batch, length, heads, width)

        q, k, v = (split(w) for w in parameters[:3])
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width)
        scores = jnp.where(np.tri(length) > 0, scores, -1e9)
        chances = jax.nn.softmax(scores, axis=-1)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", chances, v).reshape(batch, length, size)
        return mixed @ parameters[3]

    def loss(x, parameters):
        return jnp.sum(attend(x, parameters) * weight)

    dx, (dq, dk, dv, do) = jax.grad(loss, argnums=(0, 1))(x, parameters)
    return {"output": attend(x, parameters), "input": dx, "query": dq, "key": dk, "value": dv,
            "mix": do}


def plain(value):
    """Shape and elements, as Fixture.swift reads them."""
    value = np.asarray(value)
    return {"shape": list(value.shape), "values": value.astype(float).ravel().tolist()}


programs = [
    recurrent_network, digits, kalman_filter, pendulum, gaussian_process, meta_learning, server,
    attention,
]
results = {p.__name__: {k: plain(v) for k, v in p().items()} for p in programs}
lines = []
for program, values in results.items():
    rows = ",\n".join(f'    "{k}": {json.dumps(v)}' for k, v in values.items())
    lines.append(f'  "{program}": {{\n{rows}\n  }}')
path = pathlib.Path(__file__).parent / "programs.json"
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")

"""JAX on the CPU: jit (W1: the loop over time unrolled), and scan (W1 as jax.lax.scan).

A first call traces and compiles; it is reported, not sampled. For one thread at its best, JAX wants
NPROC=1, XLA_FLAGS=--xla_cpu_multi_thread_eigen=false and JAX_CPU_ENABLE_ASYNC_DISPATCH=false.
"""

import jax
import jax.numpy as jnp

import common as c
import small as small_programs

args = c.arguments(["jit", "scan"], ["W1", "W2", "W3", "W4", "W5", "W6", "W9"])
bench = c.Bench("jax", jax.__version__, args)


def cross_entropy(z, labels):
    own = jnp.take_along_axis(z, labels[:, None], 1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - own)


def measure(case, loss, parameters, *constants, per=1):
    """Times `loss(parameters, *constants)` alone and with the gradients of the parameters."""
    gradients, value = jax.jit(jax.value_and_grad(loss)), jax.jit(loss)
    bench.run(case, "train", lambda: jax.block_until_ready(gradients(parameters, *constants)),
              c.first, c.second, per)
    bench.run(case, "forward", lambda: value(parameters, *constants).block_until_ready(), float,
              per=per)


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        steps, batch, _, hidden, _ = c.RNN_SIZES[size]
        x, labels, parameters = c.rnn_data(size)
        x, labels = jnp.asarray(x), jnp.asarray(labels, jnp.int32)

        def loss(parameters, x, labels):
            wx, wh, b, wo, bo = parameters
            h = jnp.zeros((batch, hidden), jnp.float32)
            if args.mode == "scan":
                h, _ = jax.lax.scan(lambda h, x: (jnp.tanh(x @ wx + h @ wh + b), None), h, x)
            else:
                for t in range(steps):
                    h = jnp.tanh(x[t] @ wx + h @ wh + b)
            return cross_entropy(h @ wo + bo, labels)

        measure(size, loss, tuple(map(jnp.asarray, parameters)), x, labels)


def chain():
    def loss(operands):
        x, y, z = operands
        return jnp.sum(jnp.tanh(x * y + z) * jnp.exp(-x * x))

    for n in c.chosen(args, c.CHAIN_SIZES):
        measure(n, loss, tuple(map(jnp.asarray, c.chain_data(n))))


def matmul():
    names = ["x".join(map(str, size)) for size in c.MATMUL_SIZES]
    product = jax.jit(lambda pairs: [a @ b for a, b in pairs])
    for name in c.chosen(args, names):
        arrays = c.matmul_data(*map(int, name.split("x")))
        pairs = [(jnp.asarray(a), jnp.asarray(b)) for a, b in arrays]
        bench.run(name, "forward", lambda: jax.block_until_ready(product(pairs)), per=len(pairs))
        c.check(name, product(pairs)[0], arrays[0][0] @ arrays[0][1])


def mlp():
    x, labels, parameters = c.mlp_data()
    x, labels = jnp.asarray(x), jnp.asarray(labels, jnp.int32)

    def loss(parameters):
        w1, b1, w2, b2, w3, b3 = parameters
        return cross_entropy(
            jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3, labels)

    def updated(parameters):
        value, gradients = jax.value_and_grad(loss)(parameters)
        return value, [p - c.LEARNING_RATE * g for p, g in zip(parameters, gradients)]

    compiled = jax.jit(updated, donate_argnums=0)
    state = [jnp.asarray(p) for p in parameters]

    def step():
        nonlocal state
        value, state = compiled(state)
        jax.block_until_ready(state)
        return value

    bench.run("mlp", "train", step, float)


def overhead():
    start, increment = map(jnp.asarray, c.overhead_data())

    def loss(parameters, increment):
        y = parameters[0]
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return y.sum()

    measure("chain", loss, (start,), increment, per=c.OVERHEAD_LENGTH)


def reduce():
    x, y = map(jnp.asarray, c.reduce_data())
    expected = c.reduce_results()
    cases = {"sum0": (x, lambda x: x.sum(0)), "sum1": (x, lambda x: x.sum(1)),
             "softmax": (y, lambda y: jax.nn.softmax(y, axis=1)),
             "transpose": (x, lambda x: jnp.copy(x.T))}
    for name in c.chosen(args, list(cases)):
        operand, function = cases[name]
        program = jax.jit(function)
        bench.run(name, "forward", lambda: program(operand).block_until_ready())
        c.check(name, program(operand), expected[name]())


def small():
    for case in c.chosen(args, list(small_programs.PROGRAMS)):
        constants, parameters = ([jnp.asarray(v) for v in part] for part in small_programs.data(case))
        program = small_programs.PROGRAMS[case][0]

        def loss(parameters):
            return program(jnp, jax.nn.softmax, *constants, *parameters)

        measure(case, loss, parameters)


{"W1": rnn, "W2": chain, "W3": matmul, "W4": mlp, "W5": overhead, "W6": reduce,
 "W9": small}[args.workload]()

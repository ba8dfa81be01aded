"""JAX on the CPU, compiled: W9. A first call compiles; it is reported, not sampled."""

import jax
import jax.numpy as jnp

import common as c
import small

args = c.arguments(["jit"], ["W9"])
bench = c.Bench("jax", jax.__version__, args)

for case in c.chosen(args, list(small.PROGRAMS)):
    constants, parameters = ([jnp.asarray(v) for v in part] for part in small.data(case))
    program = small.PROGRAMS[case][0]

    def loss(parameters):
        return program(jnp, jax.nn.softmax, *constants, *parameters)

    compiled = jax.jit(loss)
    gradients = jax.jit(jax.value_and_grad(loss))

    def forward():
        return compiled(parameters).block_until_ready()

    def train():
        return jax.block_until_ready(gradients(parameters))

    value, found = train()
    bench.run(case, "train", train, float(value), c.gradient_norm(found))
    bench.run(case, "forward", forward, float(forward()))

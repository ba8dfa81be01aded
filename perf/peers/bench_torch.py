"""PyTorch: eager, and compile (torch.compile; plan.py says where)."""

import torch
import torch.nn.functional as F

import common as c
import irregular as irregular_programs
import operations
import small as small_programs

args = c.arguments(["eager", "compile"],
                   ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W9", "W10"])
bench = c.Bench("torch", torch.__version__, args)
torch.set_num_threads(1)


def softmax(x):
    return torch.softmax(x, -1)


def compiled(function):
    """What is compiled for one case is forgotten before the next."""
    if args.mode == "eager":
        return function
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


def measure(case, loss, parameters, per=1):
    """Times `loss` alone and with the gradients of `parameters`."""

    def forward():
        with torch.no_grad():
            return loss()

    def train():
        value = loss()
        return value.detach(), torch.autograd.grad(value, parameters)

    bench.run(case, "train", train, c.first, c.second, per)
    bench.run(case, "forward", forward, float, per=per)


def variables(arrays):
    return [torch.from_numpy(v).requires_grad_() for v in arrays]


def rnn():
    for size in c.chosen(args, list(c.RNN_SIZES)):
        steps, batch, _, hidden, _ = c.RNN_SIZES[size]
        x, labels, parameters = c.rnn_data(size)
        x, labels, parameters = torch.from_numpy(x), torch.from_numpy(labels), variables(parameters)
        # Indexing is an operation of its own in eager mode, and none when compiled.
        xs = list(x.unbind(0)) if args.mode == "eager" else x
        h0 = torch.zeros(batch, hidden)

        def loss(xs, labels, wx, wh, b, wo, bo):
            h = h0
            for t in range(steps):
                h = torch.tanh(xs[t] @ wx + h @ wh + b)
            return F.cross_entropy(h @ wo + bo, labels)

        program = compiled(loss)
        measure(size, lambda: program(xs, labels, *parameters), parameters)


def chain():
    def loss(x, y, z):
        return (torch.tanh(x * y + z) * torch.exp(-x * x)).sum()

    for n in c.chosen(args, c.CHAIN_SIZES):
        operands = variables(c.chain_data(n))
        program = compiled(loss)
        measure(n, lambda: program(*operands), operands)


def matmul():
    names = ["x".join(map(str, size)) for size in c.MATMUL_SIZES]
    for name in c.chosen(args, names):
        arrays = c.matmul_data(*map(int, name.split("x")))
        pairs = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in arrays]
        c.check(name, pairs[0][0] @ pairs[0][1], arrays[0][0] @ arrays[0][1])
        bench.run(name, "forward", lambda: [a @ b for a, b in pairs], per=len(pairs))


def mlp():
    x, labels, parameters = c.mlp_data()
    x, labels, parameters = torch.from_numpy(x), torch.from_numpy(labels), variables(parameters)
    optimiser = torch.optim.SGD(parameters, lr=c.LEARNING_RATE)

    def loss(x, labels, w1, b1, w2, b2, w3, b3):
        logits = torch.relu(torch.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        return F.cross_entropy(logits, labels)

    program = compiled(loss)

    def step():
        optimiser.zero_grad(set_to_none=True)
        value = program(x, labels, *parameters)
        value.backward()
        optimiser.step()
        return value.detach()

    bench.run("mlp", "train", step, float)


def overhead():
    start, increment = map(torch.from_numpy, c.overhead_data())
    start.requires_grad_()

    def loss(y, increment):
        for _ in range(c.OVERHEAD_LENGTH):
            y = y + increment
        return y.sum()

    program = compiled(loss)
    measure("chain", lambda: program(start, increment), [start], per=c.OVERHEAD_LENGTH)


def reduce():
    x, y = map(torch.from_numpy, c.reduce_data())
    expected = c.reduce_results()
    cases = {"sum0": (x, lambda x: x.sum(0)), "sum1": (x, lambda x: x.sum(1)),
             "softmax": (y, softmax), "transpose": (x, lambda x: x.t().contiguous())}
    for name in c.chosen(args, list(cases)):
        operand, function = cases[name]
        program = compiled(function)
        bench.run(name, "forward", lambda: program(operand))
        c.check(name, program(operand), expected[name]())


def irregular():
    for case in c.chosen(args, irregular_programs.CASES):
        structures, inputs, labels, parameters = irregular_programs.data(case)
        inputs = [list(torch.from_numpy(x).unbind(0)) for x in inputs]
        labels = [torch.tensor([label]) for label in labels]
        parameters = variables(parameters)
        start = torch.zeros(1, irregular_programs.WIDTH)

        def loss():
            return irregular_programs.loss(case, torch, torch.sigmoid, F.cross_entropy, structures,
                                           inputs, labels, parameters, start)

        measure(case, loss, parameters)


def small():
    for case in c.chosen(args, list(small_programs.PROGRAMS)):
        constants, parameters = small_programs.data(case)
        constants, parameters = [torch.from_numpy(v) for v in constants], variables(parameters)
        program = small_programs.PROGRAMS[case][0]
        measure(case, lambda: program(torch, softmax, *constants, *parameters), parameters)


def ops():
    for family in c.chosen(args, operations.FAMILIES):
        for count in operations.COUNTS:
            arrays, constants = operations.data(family, count)
            parameters = variables(arrays)
            others = [v if isinstance(v, int) else torch.tensor(v) for v in constants]
            program = operations.torch_program(family)

            def forward():
                with torch.no_grad():
                    return program(*parameters, *others)

            def train():
                return torch.autograd.grad(program(*parameters, *others).sum(), parameters)

            bench.run(f"{family}/{count}", "forward", forward)
            if parameters:
                bench.run(f"{family}/{count}", "train", train)


{"W1": rnn, "W2": chain, "W3": matmul, "W4": mlp, "W5": overhead, "W6": reduce,
 "W7": irregular, "W9": small, "W10": ops}[args.workload]()

"""PyTorch, eager: W9 and W10."""

import torch

import common as c
import operations
import small

args = c.arguments(["eager"], ["W9", "W10"])
bench = c.Bench("torch", torch.__version__, args)
torch.set_num_threads(1)


def softmax(x):
    return torch.softmax(x, -1)


def programs():
    for case in c.chosen(args, list(small.PROGRAMS)):
        constants, parameters = ([torch.tensor(v) for v in part] for part in small.data(case))
        for parameter in parameters:
            parameter.requires_grad_()
        program = small.PROGRAMS[case][0]

        def loss():
            return program(torch, softmax, *constants, *parameters)

        def forward():
            with torch.no_grad():
                return loss()

        def train():
            return torch.autograd.grad(loss(), parameters)

        norm = c.gradient_norm([g.numpy() for g in train()])
        bench.run(case, "train", train, float(forward()), norm)
        bench.run(case, "forward", forward, float(forward()))


def ops():
    for family in c.chosen(args, operations.FAMILIES):
        for count in operations.COUNTS:
            arrays, constants = operations.data(family, count)
            parameters = [torch.tensor(v, requires_grad=True) for v in arrays]
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


{"W9": programs, "W10": ops}[args.workload]()

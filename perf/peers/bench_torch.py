"""PyTorch, eager: W9."""

import torch

import common as c
import small

args = c.arguments(["eager"], ["W9"])
bench = c.Bench("torch", torch.__version__, args)
torch.set_num_threads(1)


def softmax(x):
    return torch.softmax(x, -1)


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

"""Writes torch.json and gru.safetensors: what PyTorch's optimisers, schedulers and layers make of the same numbers.

    python3 generate.py     (needs torch and safetensors; written with torch 2.15.0 on a CPU)

The problem: a network of two layers, 4-6-3, tanh, softmax cross-entropy, over 12 samples, in float64.
Data and first weights come from the linear congruential generator below, which the tests have as well, so
nothing random of PyTorch's enters. Recorded are the losses before each of 50 steps and the parameters after
the last.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


class Noise:
    """Numbers from -1 to 1 by a linear congruential generator."""

    def __init__(self, seed):
        self.state = seed

    def number(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) * 2.0**-52 - 1

    def tensor(self, *shape, scale=1.0):
        count = 1
        for n in shape:
            count *= n
        return torch.tensor([self.number() * scale for _ in range(count)]).reshape(shape)


def listed(tensor):
    return tensor.detach().double().flatten().tolist()


def problem():
    noise = Noise(7)
    x = noise.tensor(12, 4)
    y = torch.tensor([i % 3 for i in range(12)])
    # As the Swift layers have them: [inputs, outputs].
    parameters = [noise.tensor(4, 6), noise.tensor(6), noise.tensor(6, 3), noise.tensor(3)]
    for p in parameters:
        p.requires_grad_()

    def loss():
        hidden = torch.tanh(x @ parameters[0] + parameters[1])
        return torch.nn.functional.cross_entropy(hidden @ parameters[2] + parameters[3], y)

    return parameters, loss


def trained(make, clip=None, schedule=None):
    parameters, loss = problem()
    optimizer = make(parameters)
    scheduler = schedule(optimizer) if schedule else None
    losses = []

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(50):
        if isinstance(optimizer, torch.optim.LBFGS):
            value = optimizer.step(closure)
        else:
            value = closure()
            if clip:
                clip(parameters)
            optimizer.step()
        if scheduler:
            scheduler.step()
        losses.append(value.item())
    return {"losses": losses, "parameters": [listed(p) for p in parameters]}


optim = torch.optim
optimizers = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    "sgd nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "adam decay": lambda p: optim.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop centered": lambda p: optim.RMSprop(
        p, lr=0.01, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.01),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "adagrad decay": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.05, weight_decay=0.01),
    "adadelta": lambda p: optim.Adadelta(p, lr=1.0),
    "adadelta decay": lambda p: optim.Adadelta(p, lr=0.5, rho=0.8, weight_decay=0.01),
}


def lbfgs_on_rosenbrock(**options):
    """Losses before each of 30 steps of few iterations on a curved valley in six dimensions."""
    x = Noise(3).tensor(6, scale=2.0).requires_grad_()
    optimizer = optim.LBFGS([x], **options)

    def closure():
        optimizer.zero_grad()
        value = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        value.backward()
        return value

    losses = [optimizer.step(closure).item() for _ in range(30)]
    evaluations = optimizer.state[x]["func_evals"]
    return {"losses": losses, "parameters": [listed(x)], "evaluations": evaluations}


def rates(make, steps=60):
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return result


scheduler = optim.lr_scheduler
nn = torch.nn


def layers():
    noise = Noise(11)
    result = {}

    def set_all(module):
        for p in module.parameters():
            with torch.no_grad():
                p.copy_(noise.tensor(*p.shape))

    def case(name, module, x, *more):
        """Records state, output, gradients of the sum of squares of the output."""
        x = x.clone().requires_grad_()
        state = {k: listed(v) for k, v in module.state_dict().items()}
        shapes = {k: list(v.shape) for k, v in module.state_dict().items()}
        y = module(x, *more)
        y = y[0] if isinstance(y, tuple) else y
        (y * y).sum().backward()
        result[name] = {
            "x": listed(x), "shape": list(x.shape), "state": state, "shapes": shapes,
            "y": listed(y), "yShape": list(y.shape), "dx": listed(x.grad),
            "gradients": {k: listed(p.grad) for k, p in module.named_parameters()},
        }

    module = nn.Linear(5, 3)
    set_all(module)
    case("linear", module, noise.tensor(4, 5))
    module = nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    set_all(module)
    case("conv", module, noise.tensor(2, 2, 7, 6))
    module = nn.LayerNorm(6)
    set_all(module)
    case("layer norm", module, noise.tensor(3, 6))
    module = nn.RNN(3, 4)
    set_all(module)
    case("rnn", module, noise.tensor(5, 2, 3))
    module = nn.LSTM(3, 4)
    set_all(module)
    case("lstm", module, noise.tensor(5, 2, 3))

    module = nn.BatchNorm2d(3)
    set_all(module)
    case("batch norm", module, noise.tensor(4, 3, 2, 2))
    batch = noise.tensor(4, 3, 2, 2)
    module(batch)
    x = noise.tensor(2, 3, 2, 2)
    module.eval()
    result["batch norm"]["second"] = {
        "batch": listed(batch), "x": listed(x), "mean": listed(module.running_mean),
        "variance": listed(module.running_var), "y": listed(module(x)),
    }

    module = nn.GRU(3, 4)
    set_all(module)
    case("gru", module, noise.tensor(5, 2, 3))
    return result


def trained_gru():
    """A GRU of float32 that has learned to sum its inputs, as a file, and what it gives for others."""
    noise = Noise(23)
    module, readout = nn.GRU(3, 5).float(), nn.Linear(5, 1).float()
    for p in [*module.parameters(), *readout.parameters()]:
        with torch.no_grad():
            p.copy_(noise.tensor(*p.shape, scale=0.4).float())
    optimizer = optim.Adam([*module.parameters(), *readout.parameters()], lr=0.02)
    for _ in range(100):
        x = noise.tensor(7, 8, 3).float()
        optimizer.zero_grad()
        ((readout(module(x)[0])[..., 0] - x.sum(-1).cumsum(0)) ** 2).mean().backward()
        optimizer.step()
    save_file(module.state_dict(), pathlib.Path(__file__).with_name("gru.safetensors"))
    x = noise.tensor(6, 2, 3).float()
    y, state = module(x)
    return {"x": listed(x), "y": listed(y), "state": listed(state)}


document = {
    "torch": torch.__version__.split("+")[0],
    "optimizers": {name: trained(make) for name, make in optimizers.items()},
    "clipping": {
        "value": trained(
            optimizers["sgd"], lambda p: nn.utils.clip_grad_value_(p, 0.05)),
        "norm": trained(
            optimizers["adam"], lambda p: nn.utils.clip_grad_norm_(p, 0.1)),
    },
    "scheduled": trained(
        optimizers["adam"],
        schedule=lambda o: scheduler.OneCycleLR(o, max_lr=0.1, total_steps=50, cycle_momentum=False)),
    "lbfgs": {
        "network": trained(lambda p: optim.LBFGS(p, lr=0.5, max_iter=3)),
        "fixed": lbfgs_on_rosenbrock(lr=0.001, max_iter=7, history_size=4),
        "wolfe": lbfgs_on_rosenbrock(max_iter=4, history_size=5, line_search_fn="strong_wolfe"),
        "wolfe long": lbfgs_on_rosenbrock(max_iter=2, line_search_fn="strong_wolfe"),
    },
    "rates": {
        "steps": rates(lambda o: scheduler.StepLR(o, 7, gamma=0.3)),
        "exponential": rates(lambda o: scheduler.ExponentialLR(o, 0.9)),
        # Its recurrence goes up again behind the end, where ours stays.
        "cosine": rates(lambda o: scheduler.CosineAnnealingLR(o, 59, eta_min=0.1)),
        "oneCycle": rates(lambda o: scheduler.OneCycleLR(o, max_lr=2.0, total_steps=60)),
        "warmUp": rates(lambda o: scheduler.LinearLR(o, start_factor=0.1, total_iters=9)),
    },
    "layers": layers(),
    "trainedGRU": trained_gru(),
}

path = pathlib.Path(__file__).with_name("torch.json")
path.write_text(json.dumps(document, separators=(",", ":")) + "\n")

"""Trains a classifier of irises with PyTorch and writes what LazyGrad needs to go on with it:

    Resources/iris.safetensors      the weights, as PyTorch names them
    Resources/expected.safetensors  150 inputs and PyTorch's outputs for them

Needs torch, safetensors and scikit-learn:

    python3 make_model.py

The measurements are R. A. Fisher's (The use of multiple measurements in taxonomic problems, 1936).
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_iris
from torch import nn

torch.manual_seed(1)
torch.set_num_threads(1)
iris = load_iris()
x = torch.tensor(iris.data, dtype=torch.float32)
y = torch.tensor(iris.target)


class Iris(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.BatchNorm1d(4)
        self.hidden = nn.ModuleList([nn.Linear(4, 16), nn.Linear(16, 16)])
        self.norm = nn.LayerNorm(16)
        self.output = nn.Linear(16, 3)

    def forward(self, x):
        x = self.scale(x)
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.output(self.norm(x))


model = Iris()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.1)
for epoch in range(60):
    for batch in torch.randperm(len(x)).split(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    logits = model(x)
print("accuracy:", (logits.argmax(1) == y).float().mean().item())
folder = Path(__file__).parent / "Resources"
save_file(
    model.state_dict(),
    folder / "iris.safetensors",
    {"classes": ",".join(iris.target_names), "inputs": ",".join(iris.feature_names)},
)
save_file(
    {"inputs": x, "labels": y, "logits": logits, "probabilities": logits.softmax(1)},
    folder / "expected.safetensors",
)

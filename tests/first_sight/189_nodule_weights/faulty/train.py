"""Malignancy of lung nodules in three grades, patches of CT; everything is set in one YAML text, classes are rare to common."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from torch.utils.data import DataLoader, TensorDataset

CONFIG = """
data: {train: 800, val: 300, size: 22, share: [0.74, 0.16, 0.1]}
model: {channels: [12, 24], dropout: 0.1}
loss: {name: cross_entropy, penalties: true}
optimizer: {name: adamw, lr: 0.006, weight_decay: 0.01}
batch_size: 30
epochs: 7
seed: 5
"""


def nodule(rng, grade, size):
    """A blob in the lung: margin, spicules and calcified core depend on the grade, with overlap between grades."""
    y, x = np.mgrid[0:size, 0:size] - size / 2 + 0.5
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    reach = rng.uniform(4.5, 7.5)
    amplitude = np.clip(rng.normal([0.03, 0.2, 0.37][grade], 0.05), 0, None)
    edge = reach * (1 + amplitude * np.cos(rng.integers(5, 9) * angle + rng.uniform(0, 6)))
    softness = rng.uniform(0.5, 1.1)
    inside = 1 / (1 + np.exp((radius - edge) / softness))
    image = -0.8 + rng.uniform(0.7, 1.0) * inside + 0.12 * np.cos(x * rng.uniform(0.2, 0.5) + rng.uniform(0, 6))
    for _ in range(rng.integers(0, 4)):
        cy, cx = rng.uniform(-size / 2, size / 2, 2)
        image += 0.5 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / rng.uniform(1, 4))
    return image + rng.normal(0, 0.14, image.shape)


def build(count, seed, data):
    rng = np.random.default_rng(seed)
    grades = rng.choice(len(data["share"]), count, p=data["share"])
    images = np.stack([nodule(rng, g, data["size"]) for g in grades])[:, None]
    return TensorDataset(torch.tensor(images, dtype=torch.float32), torch.tensor(grades))


def class_penalties(grades, classes):
    """What a mistake costs in each class, from the counts in the training data; the penalties add up to one."""
    counts = torch.bincount(grades, minlength=classes).float()
    penalty = counts / counts.sum()
    return penalty / penalty.sum()


class GradeNet(nn.Module):
    def __init__(self, channels, dropout, classes):
        super().__init__()
        layers, previous = [], 1
        for c in channels:
            layers += [nn.Conv2d(previous, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            previous = c
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(previous, classes))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3), keepdim=True))


@torch.no_grad()
def validate(model, loader, classes):
    model.eval()
    table = torch.zeros(classes, classes)
    for image, grade in loader:
        for t, p in zip(grade, model(image).argmax(1)):
            table[t, p] += 1
    return table


def recalls(table):
    return (table.diagonal() / table.sum(1).clamp(min=1)).tolist()


def run(config):
    torch.manual_seed(config["seed"])
    data = config["data"]
    classes = len(data["share"])
    train_set, val_set = build(data["train"], 1, data), build(data["val"], 2, data)
    train_loader = DataLoader(train_set, config["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, 100)
    model = GradeNet(**config["model"], classes=classes)
    weight = class_penalties(train_set.tensors[1], classes) if config["loss"]["penalties"] else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["optimizer"]["lr"], weight_decay=config["optimizer"]["weight_decay"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"])
    for epoch in range(1, config["epochs"] + 1):
        model.train()
        total = 0.0
        for image, grade in train_loader:
            loss = F.cross_entropy(model(image), grade, weight=weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(grade)
        scheduler.step()
        table = validate(model, val_loader, classes)
        recall = recalls(table)
        print(f"epoch {epoch} loss {total / len(train_set):.4f} | accuracy {(table.trace() / table.sum()).item():.3f} "
              f"recall {' '.join(f'{r:.3f}' for r in recall)} balanced {np.mean(recall):.3f}")
    print(f"final: balanced accuracy {np.mean(recall):.4f}, recall of the rarest grade {recall[-1]:.4f}")


if __name__ == "__main__":
    run(yaml.safe_load(CONFIG))

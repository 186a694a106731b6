"""Bone marrow cells in four classes, everything about the run in one configuration."""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from torch.utils.data import DataLoader, Dataset

CONFIG = """
seed: 17
problem_type: classification
classes: [blast, lymphocyte, myelocyte, segmented]
data: {training: 1200, validation: 400, size: 32, imbalance: [0.15, 0.35, 0.2, 0.3]}
augmentation: {rotate: true, flip: true, brightness: 0.15}
model: {width: 16, dropout: 0.2}
batch_size: 32
num_epochs: 9
optimizer: {type: adamw, lr: 0.001, weight_decay: 0.0001}
scheduler: {type: cosine, minimum: 0.00001}
weighted_loss: true
metrics: [accuracy, balanced_accuracy, f1]
patience: 5
"""


def draw_cell(rng, label, size):
    """Red, green and blue of a stained cell; the classes differ in the size of cell and nucleus, lobes and granules."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    cx, cy = rng.normal(size / 2, 1.5, 2)
    radius = {0: rng.uniform(10, 13), 1: rng.uniform(7, 9.5), 2: rng.uniform(9, 12.5), 3: rng.uniform(8.5, 11.5)}[label]
    body = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
    ratio = {0: 0.85, 1: 0.8, 2: 0.65, 3: 0.42}[label] + rng.normal(0, 0.05)
    nucleus = np.zeros_like(body)
    turn = rng.uniform(0, 2 * np.pi)
    lobes = rng.integers(2, 5) if label == 3 else 1
    for k in range(lobes):
        reach = 0.0 if lobes == 1 else 0.45 * radius
        lx, ly = cx + reach * math.cos(turn + 2 * k * math.pi / lobes), cy + reach * math.sin(turn + 2 * k * math.pi / lobes)
        nucleus |= (x - lx) ** 2 + (y - ly) ** 2 < (ratio * radius) ** 2
    nucleus &= body
    image = np.full((3, size, size), 0.85, np.float32)
    image[:, body] = np.array([0.75, 0.65, 0.85])[:, None] + rng.normal(0, 0.03, (3, 1))
    image[:, nucleus] = np.array([0.4, 0.25, 0.6])[:, None] + rng.normal(0, 0.05, (3, 1))
    if label in (2, 3):
        granules = body & ~nucleus & (rng.random((size, size)) < (0.3 if label == 2 else 0.12))
        image[:, granules] -= 0.25
    return image + rng.normal(0, 0.07, image.shape).astype(np.float32)


class CellTable(Dataset):
    """Rows of a table: image and class; augmented if the parameters of an augmentation are given."""

    def __init__(self, params, count, seed, augmentation=None):
        rng = np.random.default_rng(seed)
        self.labels = torch.from_numpy(rng.choice(len(params["classes"]), count, p=params["data"]["imbalance"]))
        cells = [draw_cell(rng, label, params["data"]["size"]) for label in self.labels.tolist()]
        self.images = torch.from_numpy(np.stack(cells)).sub_(0.65).div_(0.25)
        self.augmentation = augmentation

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        if self.augmentation:
            if self.augmentation["rotate"]:
                image = image.rot90(int(torch.randint(4, (1,))), (1, 2))
            if self.augmentation["flip"] and torch.rand(1) < 0.5:
                image = image.flip(2)
            image = image + self.augmentation["brightness"] * torch.randn(1)
        return image, self.labels[index]


def get_loaders(params):
    train_set = CellTable(params, params["data"]["training"], params["seed"] + 1, params["augmentation"])
    val_set = CellTable(params, params["data"]["validation"], params["seed"] + 2)
    train_loader = DataLoader(train_set, batch_size=params["batch_size"], shuffle=True)
    return train_loader, DataLoader(val_set, batch_size=params["batch_size"])


def get_model(params):
    width, layers, channels = params["model"]["width"], [], 3
    for out in (width, 2 * width, 4 * width):
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        channels = out
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(params["model"]["dropout"]), nn.Linear(channels, len(params["classes"]))]
    return nn.Sequential(*layers, *head)


def get_optimizer_and_scheduler(model, params):
    kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    settings = params["optimizer"]
    optimizer = kinds[settings["type"]](model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, params["num_epochs"], params["scheduler"]["minimum"])
    return optimizer, scheduler


def ground_truths_and_predictions(dataset):
    """Classes of all rows of the table, and room for the classes that will be predicted."""
    return dataset.labels.clone(), torch.zeros_like(dataset.labels)


def overall_stats(predictions, truths, params):
    """The configured metrics on all rows together."""
    classes = len(params["classes"])
    confusion = torch.bincount(truths * classes + predictions, minlength=classes**2).view(classes, classes).float()
    hits = confusion.diag()
    recall, precision = hits / confusion.sum(1).clamp(min=1), hits / confusion.sum(0).clamp(min=1)
    known = {
        "accuracy": hits.sum() / confusion.sum(),
        "balanced_accuracy": recall.mean(),
        "f1": (2 * recall * precision / (recall + precision).clamp(min=1e-8)).mean(),
    }
    return {name: known[name].item() for name in params["metrics"]}


def train_network(model, loader, optimizer, weight, params):
    model.train()
    truths, predictions = ground_truths_and_predictions(loader.dataset)
    total, batch_size = 0.0, params["batch_size"]
    for batch_idx, (image, label) in enumerate(loader):
        optimizer.zero_grad()
        output = model(image)
        loss = F.cross_entropy(output, label, weight)
        loss.backward()
        optimizer.step()
        total += loss.item()
        rows = slice(batch_idx * batch_size, (batch_idx + 1) * batch_size)
        truths[rows] = label
        predictions[rows] = output.argmax(1)
    return total / len(loader), overall_stats(predictions, truths, params)


@torch.no_grad()
def validate_network(model, loader, weight, params):
    model.eval()
    truths, predictions = ground_truths_and_predictions(loader.dataset)
    total, batch_size = 0.0, params["batch_size"]
    for batch_idx, (image, label) in enumerate(loader):
        output = model(image)
        total += F.cross_entropy(output, label, weight).item()
        predictions[batch_idx * batch_size : (batch_idx + 1) * batch_size] = output.argmax(1)
    return total / len(loader), overall_stats(predictions, truths, params)


def show(stats):
    return " ".join(f"{name} {value:.4f}" for name, value in stats.items())


def training_loop(params):
    torch.manual_seed(params["seed"])
    train_loader, val_loader = get_loaders(params)
    model = get_model(params)
    optimizer, scheduler = get_optimizer_and_scheduler(model, params)
    weight = None
    if params["weighted_loss"]:
        frequency = torch.bincount(train_loader.dataset.labels, minlength=len(params["classes"])).float()
        weight = frequency.sum() / (len(params["classes"]) * frequency)
    best_loss, best, waited = float("inf"), None, 0
    for epoch in range(params["num_epochs"]):
        train_loss, train_stats = train_network(model, train_loader, optimizer, weight, params)
        val_loss, val_stats = validate_network(model, val_loader, weight, params)
        scheduler.step()
        print(f"epoch {epoch + 1:2d} train loss {train_loss:.4f} {show(train_stats)} | val loss {val_loss:.4f} {show(val_stats)}")
        waited = 0 if val_loss < best_loss else waited + 1
        if val_loss < best_loss:
            best_loss, best = val_loss, (train_stats, val_stats)
        if waited >= params["patience"]:
            break
    return best


if __name__ == "__main__":
    train_stats, val_stats = training_loop(yaml.safe_load(CONFIG))
    print(f"final: train {show(train_stats)} | val {show(val_stats)}")

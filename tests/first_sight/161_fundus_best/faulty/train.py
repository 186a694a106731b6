"""Grading of fundus photographs from two clinics: training arguments, evaluation on both clinics, the best checkpoint kept."""
import copy
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

SIZE = 32


def photographs(count, seed, clinic):
    """A disc with vessels; grade 1 shows a few dark spots, grade 2 many dark and some bright ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images, grades = np.zeros((count, 3, SIZE, SIZE), np.float32), rng.integers(0, 3, count)
    tint = {"north": (0.7, 0.4, 0.2), "south": (0.62, 0.42, 0.26)}[clinic]
    for image, grade in zip(images, grades):
        light = rng.uniform(0.85, 1.15) * (1 - 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
        picture = np.array(tint)[:, None, None] * light
        for _ in range(4):
            bend, start = rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.9)
            vessel = np.abs(y - start - bend * (x - rng.uniform(0.2, 0.8)) ** 2) < 0.02
            picture[:, vessel] *= 0.75
        spots = [(0, 0), (rng.integers(3, 6), 0), (rng.integers(5, 9), rng.integers(2, 5))][grade]
        for number, factor in zip(spots, (0.55, 1.5)):
            for _ in range(number):
                cy, cx = rng.uniform(0.15, 0.85, 2)
                picture *= 1 + (factor - 1) * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / 0.0012))
        image[:] = picture + rng.normal(0, 0.03, picture.shape)
    return TensorDataset((torch.from_numpy(images) - 0.42) / 0.2, torch.from_numpy(grades))


@dataclass
class TrainingArguments:
    num_train_epochs: int = 6
    per_device_train_batch_size: int = 32
    per_device_eval_batch_size: int = 100
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    load_best_model_at_end: bool = True
    metric_for_best_model: Optional[str] = None
    greater_is_better: Optional[bool] = None
    seed: int = 0

    def __post_init__(self):
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "loss"
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = self.metric_for_best_model not in ("loss", "eval_loss")


class Grader(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        layers, channels = [], 3
        for out in (width, 2 * width):
            layers += [nn.Conv2d(channels, out, 3, 1, 1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
            channels = out
        self.features, self.head = nn.Sequential(*layers), nn.Linear(channels, 3)

    def forward(self, pixels, labels=None):
        logits = self.head(self.features(pixels).mean((2, 3)))
        return {"logits": logits, "loss": None if labels is None else F.cross_entropy(logits, labels)}


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset):
        self.model, self.args, self.train_dataset, self.eval_dataset = model, args, train_dataset, eval_dataset
        self.best_metric, self.best_epoch, self.best_checkpoint = None, None, None

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        metrics = {}
        for name, dataset in self.eval_dataset.items():
            loss = right = 0.0
            for pixels, labels in DataLoader(dataset, self.args.per_device_eval_batch_size):
                output = self.model(pixels, labels)
                loss += output["loss"].item() * len(labels)
                right += (output["logits"].argmax(1) == labels).sum().item()
            metrics |= {f"eval_{name}_loss": loss / len(dataset), f"eval_{name}_accuracy": right / len(dataset)}
        return metrics

    def keep_best(self, metrics, epoch):
        name = self.args.metric_for_best_model
        value = metrics[name if name.startswith("eval_") else f"eval_{name}"]
        better = np.greater if self.args.greater_is_better else np.less
        if self.best_metric is None or better(value, self.best_metric):
            self.best_metric, self.best_epoch = value, epoch
            self.best_checkpoint = copy.deepcopy(self.model.state_dict())

    def train(self):
        args = self.args
        loader = DataLoader(self.train_dataset, args.per_device_train_batch_size, shuffle=True)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
        total = args.num_train_epochs * len(loader)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
        for epoch in range(1, args.num_train_epochs + 1):
            self.model.train()
            for pixels, labels in loader:
                loss = self.model(pixels, labels)["loss"]
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            metrics = self.evaluate()
            print(f"epoch {epoch} " + " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
            self.keep_best(metrics, epoch)
        if args.load_best_model_at_end:
            self.model.load_state_dict(self.best_checkpoint)
            print(f"loaded the checkpoint of epoch {self.best_epoch} ({args.metric_for_best_model} {self.best_metric:.4f})")


if __name__ == "__main__":
    arguments = TrainingArguments(metric_for_best_model="eval_south_loss")
    torch.manual_seed(arguments.seed)
    clinics = {"north": photographs(200, 2, "north"), "south": photographs(200, 3, "south")}
    train_dataset = ConcatDataset([photographs(320, 1, "north"), photographs(320, 4, "south")])
    trainer = Trainer(Grader(), arguments, train_dataset, clinics)
    trainer.train()
    print("final: " + " ".join(f"{name} {value:.4f}" for name, value in trainer.evaluate().items()))

"""Which digit carries the lesion? Hand radiographs in any position, spatial transformer before the classifier (ignite)."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from ignite.contrib.handlers import LRScheduler
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.metrics import Accuracy, Loss, RunningAverage
from torch.utils.data import DataLoader, TensorDataset

SIZE = 40
DIGITS = ("thumb", "index", "middle", "ring", "little")
ANGLES = np.deg2rad([-62, -24, -6, 12, 32])
LENGTHS = np.array([0.62, 0.86, 0.95, 0.88, 0.7])


def hand(rng, digit):
    """A right hand, turned, moved and zoomed at random, with a lytic spot in one digit."""
    yy, xx = np.mgrid[:SIZE, :SIZE] / (SIZE / 2) - 1 + 1 / SIZE
    turn, zoom = rng.uniform(-1.2, 1.2), rng.uniform(0.62, 0.85)
    move = rng.uniform(-0.25, 0.25, 2)
    x, y = (xx - move[1]) / zoom, (yy - move[0]) / zoom
    x, y = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    y = y - 0.25
    image = 0.45 * ((x / 0.4) ** 2 + (y / 0.48) ** 2 < 1)
    image = np.maximum(image, 0.4 * ((np.abs(x) < 0.22) & (y > 0.3) & (y < 0.8)))
    for k, (angle, length) in enumerate(zip(ANGLES + rng.normal(0, 0.03, 5), LENGTHS * rng.uniform(0.95, 1.05, 5))):
        along, across = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
        inside = (along > 0.2) & (along < 0.3 + length) & (np.abs(across) < 0.085)
        image = np.where(inside, 0.75, image)
        if k == digit:
            spot = 0.3 + length * rng.uniform(0.45, 0.75)
            image = image - 0.75 * np.exp(-((along - spot) ** 2 + across**2) / (2 * 0.085**2)) * inside
    return image + rng.normal(0, 0.05, image.shape)


def make_set(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(DIGITS), count)
    images = np.stack([hand(rng, k) for k in labels])[:, None].astype(np.float32)
    return TensorDataset(torch.from_numpy((images - 0.2) / 0.28), torch.from_numpy(labels))


class SpatialTransformer(nn.Module):
    """Predicts an affine map from the image and resamples the image with it."""

    def __init__(self, width=12):
        super().__init__()
        self.localisation = nn.Sequential(
            nn.Conv2d(1, width, 5, 2, 2), nn.ReLU(), nn.Conv2d(width, 2 * width, 5, 2, 2), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * width * 25, 48), nn.ReLU(),
        )
        self.theta = nn.Linear(48, 6)
        nn.init.zeros_(self.theta.weight)
        self.theta.bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])

    def forward(self, x):
        theta = self.theta(self.localisation(x)).reshape(-1, 2, 3)
        grid = F.affine_grid(theta, x.shape, align_corners=False)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


class DigitNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.stn = SpatialTransformer()
        self.conv1 = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
        self.conv2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2))
        self.conv3 = nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(2 * width * 25, 64), nn.ReLU(), nn.Linear(64, len(DIGITS)))

    def forward(self, x):
        aligned = self.stn(x)
        features = self.conv1(x)
        features = self.conv2(features)
        features = self.conv3(features)
        return self.fc(features)


def run(args):
    torch.manual_seed(args.seed)
    train_loader = DataLoader(make_set(args.train, 1), args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(make_set(400, 2), 100)
    model = DigitNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    trainer = create_supervised_trainer(model, optimizer, F.cross_entropy)
    RunningAverage(output_transform=lambda loss: loss, alpha=0.95).attach(trainer, "loss")
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader) + 1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, LRScheduler(schedule))
    evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "nll": Loss(F.cross_entropy)})

    @trainer.on(Events.EPOCH_COMPLETED(every=args.eval_every))
    def validate(engine):
        metrics = evaluator.run(val_loader).metrics
        print(f"epoch {engine.state.epoch} train loss {engine.state.metrics['loss']:.4f} "
              f"val loss {metrics['nll']:.4f} val accuracy {metrics['accuracy']:.4f}", flush=True)

    trainer.run(train_loader, max_epochs=args.epochs)
    print(f"final validation accuracy {evaluator.state.metrics['accuracy']:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--train", type=int, default=900)
    parser.add_argument("--batch_size", type=int, default=30)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--eval_every", type=int, default=4)
    parser.add_argument("--seed", type=int, default=5)
    run(parser.parse_args())

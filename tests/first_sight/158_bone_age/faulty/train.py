"""Bone age from radiographs of the hand: a small network behind a fit / evaluate interface with running means."""
import math

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 32


def hands(count, seed):
    """Five finger bones each; growth plates close and bones lengthen with age."""
    rng = np.random.default_rng(seed)
    ages = np.sort(np.clip(rng.gamma(6.0, 1.3, count), 2, 18))
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    images = np.zeros((count, 1, SIZE, SIZE), np.float32)
    for image, age in zip(images[:, 0], ages):
        maturity = 1 - math.exp(-age / 7)
        length = (0.3 + 0.3 * maturity) * rng.uniform(0.94, 1.06)
        gap = max(0.0, 0.06 * (1 - age / 15)) * rng.uniform(0.9, 1.1)
        for finger in range(5):
            cx = 0.14 + 0.18 * finger + rng.normal(0, 0.01)
            bone = (np.abs(x - cx) < 0.035 + 0.02 * maturity) & (np.abs(y - 0.5) < length / 2)
            image += 0.8 * (bone & (np.abs(y - 0.5 + length / 5) > gap))
        image += rng.normal(0, 0.12, image.shape)
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(ages).float())


class RunningMean:
    """Mean of a figure over an epoch."""

    def __init__(self):
        self.total = self.weight = 0.0

    def update(self, value, weight=1):
        self.total += float(value) * weight
        self.weight += weight

    def result(self):
        return self.total / self.weight


class Regressor(nn.Module):
    def __init__(self, width=12, centre=8.0, spread=3.0):
        super().__init__()
        self.centre, self.spread = centre, spread
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * width * 64, 32), nn.ReLU(), nn.Linear(32, 1),
        )

    def forward(self, x):
        return self.centre + self.spread * self.layers(x)[:, 0]

    def compile(self, optimizer, loss):
        self.optimizer, self.loss = optimizer, loss

    def fit(self, loader, epochs, validation):
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)
        for epoch in range(1, epochs + 1):
            self.train()
            mean = RunningMean()
            for image, age in loader:
                value = self.loss(self(image), age)
                self.optimizer.zero_grad()
                value.backward()
                self.optimizer.step()
                mean.update(value.item(), len(age))
            schedule.step()
            print(f"epoch {epoch} loss {mean.result():.4f} val_loss {self.evaluate(validation)[0]:.4f}")

    @torch.no_grad()
    def evaluate(self, loader):
        """Mean loss, and mean error in years, over all cases of the loader."""
        self.eval()
        loss, error = RunningMean(), RunningMean()
        for image, age in loader:
            guess = self(image)
            loss.update(self.loss(guess, age))
            error.update((guess - age).abs().mean())
        return loss.result(), error.result()

    @torch.no_grad()
    def predict(self, loader):
        self.eval()
        return torch.cat([self(image) for image, _ in loader])


if __name__ == "__main__":
    torch.manual_seed(9)
    train, valid = DataLoader(hands(800, 1), 32, shuffle=True), DataLoader(hands(260, 2), 64)
    model = Regressor()
    model.compile(torch.optim.Adam(model.parameters(), lr=2e-3), nn.SmoothL1Loss())
    model.fit(train, 6, valid)
    loss, error = model.evaluate(valid)
    print(f"validation of {len(valid.dataset)} hands: loss {loss:.4f}, mean error {error:.4f} years")
    ages, guess = valid.dataset.tensors[1], model.predict(valid)
    print(f"correlation {np.corrcoef(ages, guess)[0, 1]:.4f}, oldest case {ages[-1]:.1f} predicted {guess[-1]:.1f}")

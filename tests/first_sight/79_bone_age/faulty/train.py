"""Bone age (months) from a radiograph of the hand; the ages are skewed, so the network learns their normal scores."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, TensorDataset

from targets import QuantileTarget, figures

SIZE = 40


def make_hand(months, rng):
    """Three fingers: with age bones lengthen, growth plates close and the bone gets denser."""
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE), 0.1)
    grown = min(months / 216, 1.0)
    density = 0.45 + 0.3 * grown + rng.normal(0, 0.02)
    for finger in range(3):
        cx = 9 + 11 * finger + rng.normal(0, 0.7)
        width = 2.2 + 1.3 * grown + rng.normal(0, 0.1)
        length = 9 + 5 * grown + rng.normal(0, 0.4)
        gap = max(2.6 * (1 - grown) + rng.normal(0, 0.15), 0)
        base = 36.0
        shaft = (np.abs(xx - cx) < width) & (yy < base) & (yy > base - length)
        cap = (np.abs(xx - cx) < width) & (yy <= base - length - gap) & (yy > base - length - gap - 2 - 3 * grown)
        image[shaft | cap] = density
    return (gaussian_filter(image, 0.7) + rng.normal(0, 0.06, image.shape)).astype(np.float32)


def make_set(count, seed):
    """Images (N, 1, SIZE, SIZE) and ages in months, most of them between six and fifteen years."""
    rng = np.random.default_rng(seed)
    months = np.clip(228 * rng.beta(4.0, 2.5, count), 6, 222)
    images = np.stack([make_hand(m, rng) for m in months])
    return torch.from_numpy((images - 0.25) / 0.2)[:, None], months


class AgeNet(nn.Module):
    def __init__(self, ch=12):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1), nn.GroupNorm(4, cout), nn.ReLU(), nn.MaxPool2d(2)]

        self.features = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 2 * ch), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(2 * ch * 25, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.head(self.features(x)).squeeze(1)


class Experiment:
    """Fits a model to transformed targets and keeps the figures of every epoch."""

    def __init__(self, train, holdout, epochs=12, batch_size=32, lr=1e-3, seed=0):
        torch.manual_seed(seed)
        self.epochs = epochs
        (x, y), (self.holdout_x, y_holdout) = train, holdout
        self.scaler = QuantileTarget().fit(y)
        z = torch.from_numpy(self.scaler.transform(y)).float()
        self.holdout_z = self.scaler.transform(y_holdout)
        self.loader = DataLoader(TensorDataset(x, z), batch_size, shuffle=True)
        self.model = AgeNet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)
        self.history = []

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for x, z in self.loader:
            loss = F.smooth_l1_loss(self.model(x), z)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.scheduler.step()
        return total / len(self.loader)

    @torch.no_grad()
    def predict(self, x):
        self.model.eval()
        return torch.cat([self.model(part) for part in x.split(100)]).double().numpy()

    def run(self):
        for epoch in range(1, self.epochs + 1):
            loss = self.train_epoch()
            row = {"loss": loss, **figures(self.predict(self.holdout_x), self.holdout_z, self.scaler)}
            self.history.append(row)
            if epoch % 3 == 0:
                print(f"epoch {epoch:2d} loss {loss:.4f} holdout MAE {row['mae']:.2f} months R2 {row['r2']:.3f}")
        return self.history[-1]


if __name__ == "__main__":
    experiment = Experiment(make_set(800, 1), make_set(240, 2))
    result = experiment.run()
    torch.save({"model": experiment.model.state_dict(), "figures": result}, "age.pt")

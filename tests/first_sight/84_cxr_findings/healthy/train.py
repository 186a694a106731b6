"""Findings in frontal chest radiographs (several may be present), set up by config.yaml."""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import yaml
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, TensorDataset


class FindingsEncoder:
    """Names of findings to rows of 0 and 1, and outputs of the network back to findings."""

    def __init__(self, labels, threshold):
        if not 0 <= threshold <= 1:
            raise ValueError("the threshold has to be between 0 and 1")
        self.labels = list(labels)
        self.threshold = threshold

    def encode(self, findings):
        return torch.tensor([float(label in findings) for label in self.labels])

    def predict(self, outputs):
        return (torch.sigmoid(outputs) > self.threshold).float()

    def decode(self, row):
        return [label for label, present in zip(self.labels, row) if present]


class RadiographMaker:
    def __init__(self, side, prevalence, seed):
        self.side, self.prevalence = side, prevalence
        self.rng = np.random.default_rng(seed)
        self.yy, self.xx = np.mgrid[:side, :side] / side

    def disc(self, x, y, a, b):
        return ((self.xx - x) / a) ** 2 + ((self.yy - y) / b) ** 2 < 1

    def __call__(self):
        rng = self.rng
        present = {name for name, p in self.prevalence.items() if rng.random() < p}
        image = np.full((self.side, self.side), 0.6)
        lungs = [self.disc(x, 0.47, 0.17, rng.uniform(0.3, 0.36)) for x in (0.28, 0.72)]
        image[lungs[0] | lungs[1]] = 0.25
        heart = rng.uniform(0.17, 0.24) if "cardiomegaly" in present else rng.uniform(0.11, 0.18)
        image[self.disc(0.55, 0.65, heart, 0.17)] = 0.7
        lung = lungs[rng.integers(2)]
        if "effusion" in present:
            image[lung & (self.yy > rng.uniform(0.62, 0.8))] = 0.6
        if "nodule" in present:
            rows, cols = np.nonzero(lung)
            k = rng.integers(len(rows))
            image[self.disc(cols[k] / self.side, rows[k] / self.side, 0.035, 0.035)] += rng.uniform(0.1, 0.4)
        if "pneumothorax" in present:
            image[lung & (self.yy < rng.uniform(0.22, 0.35))] -= rng.uniform(0.03, 0.2)
        if "consolidation" in present:
            x, y = rng.choice([0.28, 0.72]), rng.uniform(0.35, 0.65)
            image += rng.uniform(0.08, 0.3) * np.exp(-((self.xx - x) ** 2 + (self.yy - y) ** 2) / 0.012)
        image = gaussian_filter(image + rng.normal(0, 0.16, image.shape), 0.6)
        return image.astype(np.float32), present


def make_dataset(count, side, prevalence, encoder, seed):
    maker = RadiographMaker(side, prevalence, seed)
    images, labels = zip(*[maker() for _ in range(count)])
    images = torch.from_numpy(np.stack(images))[:, None]
    return TensorDataset((images - 0.5) / 0.2, torch.stack([encoder.encode(present) for present in labels]))


def build_model(width, outputs):
    def block(cin, cout):
        return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        *block(1, width), *block(width, 2 * width), *block(2 * width, 4 * width), nn.Flatten(), nn.Dropout(0.4), nn.LazyLinear(outputs)
    )


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        torch.manual_seed(cfg["seed"])
        self.encoder = FindingsEncoder(cfg["findings"], cfg["evaluation"]["threshold"])
        data = cfg["data"]
        train, val = (make_dataset(data[k], data["side"], cfg["findings"], self.encoder, cfg["seed"] + i) for i, k in enumerate(("train", "val")))
        self.train_loader = DataLoader(train, cfg["training"]["batch_size"], shuffle=True)
        self.val_loader = DataLoader(val, 100)
        self.model = build_model(cfg["model"]["width"], len(self.encoder.labels))
        self.model(train[0][0][None].expand(2, -1, -1, -1))
        self.criterion = nn.BCEWithLogitsLoss()

    @torch.no_grad()
    def evaluate(self):
        model, encoder = self.model, self.encoder
        model.eval()
        outputs, labels = [], []
        for images, target in self.val_loader:
            outputs.append(model(images))
            labels.append(target)
        outputs, labels = torch.cat(outputs), torch.cat(labels)
        predicted = encoder.predict(outputs)
        hits = (predicted * labels).sum(0)
        recall = hits / labels.sum(0)
        f1 = 2 * hits / (predicted.sum(0) + labels.sum(0))
        return self.criterion(outputs, labels).item(), recall, f1

    def run(self):
        epochs = self.cfg["training"]["epochs"]
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.cfg["training"]["lr"])
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for epoch in range(1, epochs + 1):
            self.model.train()
            total = 0.0
            for images, target in self.train_loader:
                loss = self.criterion(self.model(images), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
            scheduler.step()
            val_loss, recall, f1 = self.evaluate()
            print(f"epoch {epoch} loss {total / len(self.train_loader):.4f} val loss {val_loss:.4f} recall {recall.mean():.3f} F1 {f1.mean():.3f}")
        for name, r, f in zip(self.encoder.labels, recall, f1):
            print(f"  {name:15s} recall {r:.3f} F1 {f:.3f}")
        print(f"val macro recall {recall.mean():.3f}, macro F1 {f1.mean():.3f}")


if __name__ == "__main__":
    Trainer(yaml.safe_load(Path(__file__).with_name("config.yaml").read_text())).run()

"""Segmentation of instruments in endoscopic video frames; the weights with the best validation Jaccard index are kept."""
import copy
import json

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SIZE = 48


class Frames(Dataset):
    """Frames of several procedures; the instrument comes and goes, tissue folds and reflections are always there."""

    def __init__(self, procedures, frames, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.frame(rng, tint) for tint in rng.uniform(0.3, 0.6, procedures) for _ in range(frames)]

    @staticmethod
    def frame(rng, tint):
        y, x = np.mgrid[:SIZE, :SIZE] / SIZE
        image = np.stack([tint + 0.3, np.full((), tint * 0.6), np.full((), tint * 0.5)])[:, None, None] + np.zeros((3, SIZE, SIZE))
        for _ in range(4):
            angle, width = rng.uniform(0, np.pi), rng.uniform(4, 12)
            image += 0.08 * np.sin(width * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
        mask = np.zeros((SIZE, SIZE))
        if rng.random() < 0.6:
            angle, offset, tip = rng.uniform(0, np.pi), rng.uniform(-0.25, 0.25), rng.uniform(-0.2, 0.3)
            along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
            across = -(x - 0.5) * np.sin(angle) + (y - 0.5) * np.cos(angle) - offset
            mask = ((np.abs(across) < rng.uniform(0.05, 0.1)) & (along < tip)).astype(float)
            grey = 0.45 + 0.25 * np.cos(across / 0.05)
            image = image * (1 - mask) + mask * (grey + rng.uniform(-0.1, 0.1))
        for _ in range(rng.poisson(2)):
            a, b = rng.uniform(0, 1, 2)
            image += 0.5 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.001)
        image += rng.normal(0, 0.08, image.shape)
        return torch.tensor(image - 0.4, dtype=torch.float32), torch.tensor(mask[None], dtype=torch.float32)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class SmallUNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.up2, self.up1 = block(6 * width, 2 * width), block(3 * width, width)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.up2(torch.cat([b, F.interpolate(c, scale_factor=2)], 1))
        a = self.up1(torch.cat([a, F.interpolate(b, scale_factor=2)], 1))
        return self.out(a)


class LossBinary:
    """Cross entropy minus the logarithm of the soft Jaccard index of the batch."""

    def __init__(self, jaccard_weight=0.3):
        self.jaccard_weight = jaccard_weight
        self.bce = nn.BCEWithLogitsLoss()

    def __call__(self, logits, targets):
        probabilities = torch.sigmoid(logits)
        intersection = (probabilities * targets).sum()
        union = probabilities.sum() + targets.sum() - intersection
        return self.bce(logits, targets) - self.jaccard_weight * torch.log((intersection + 1) / (union + 1))


def get_jaccard(y_true, y_pred, epsilon=1e-7):
    """Jaccard index of every frame."""
    intersection = (y_true * y_pred).sum(dim=(1, 2, 3))
    union = (y_true + y_pred).sum(dim=(1, 2, 3)) - intersection
    return intersection / (union + epsilon)


class Trainer:
    def __init__(self, model, criterion, train_loader, valid_loader, epochs=10, lr=3e-3):
        self.model, self.criterion, self.epochs = model, criterion, epochs
        self.train_loader, self.valid_loader = train_loader, valid_loader
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)
        self.best, self.best_weights = -1.0, None

    def fit(self):
        for epoch in range(1, self.epochs + 1):
            train_loss = self.train_epoch()
            metrics = self.validate()
            self.scheduler.step()
            if metrics["jaccard"] > self.best:
                self.best, self.best_weights = metrics["jaccard"], copy.deepcopy(self.model.state_dict())
            print(json.dumps({"epoch": epoch, "train_loss": round(train_loss, 4), **metrics}))
        self.model.load_state_dict(self.best_weights)
        return self.validate()

    def train_epoch(self):
        self.model.train()
        losses = []
        for images, masks in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), masks)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        losses, jaccard = [], []
        for images, masks in self.valid_loader:
            logits = self.model(images)
            losses.append(self.criterion(logits, masks).item())
            jaccard.extend(get_jaccard(masks, (logits > 0).float()).tolist())
        return {"valid_loss": round(float(np.mean(losses)), 4), "jaccard": round(float(np.mean(jaccard)), 4)}


def main():
    torch.manual_seed(8)
    train_loader = DataLoader(Frames(12, 60, 1), batch_size=16, shuffle=True)
    valid_loader = DataLoader(Frames(4, 60, 2), batch_size=16)
    metrics = Trainer(SmallUNet(), LossBinary(), train_loader, valid_loader).fit()
    print(f"best weights: loss {metrics['valid_loss']:.4f} Jaccard index {metrics['jaccard']:.4f}")


if __name__ == "__main__":
    main()

"""Depth of invasion from whole slides: features of tiles, positions of tiles, gated attention over the tiles of a slide."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.stats import rankdata

TILE = 256
FEATURES = 16


class SlideFeatures:
    """What a tile encoder wrote for every slide: one vector and the upper left pixel of each tile, and the stage."""

    def __init__(self, count, seed, prototypes):
        rng = np.random.default_rng(seed)
        self.slides = [self.slide(rng, prototypes) for _ in range(count)]

    @staticmethod
    def slide(rng, prototypes):
        rows, columns = rng.integers(28, 40), rng.integers(4, 7)
        kind = np.ones((rows, columns), int)
        kind[0] = 0
        kind[rng.random((rows, columns)) < 0.1] = 3
        deepest = rng.integers(2, 8)
        height, width = rng.integers(1, 3), rng.integers(2, 4)
        left = rng.integers(0, columns - width + 1)
        kind[max(0, deepest - height) : deepest, left : left + width] = 2
        grid = np.argwhere(rng.random((rows, columns)) < 0.95)
        x = prototypes[kind[grid[:, 0], grid[:, 1]]] + rng.normal(0, 0.9, (len(grid), FEATURES))
        coords = grid[:, ::-1] * TILE + rng.integers(0, 20000, 2)
        order = rng.permutation(len(grid))
        stage = float(deepest >= 5)
        return torch.tensor(x[order], dtype=torch.float32), torch.tensor(coords[order].copy(), dtype=torch.float32), torch.tensor(stage)

    def __len__(self):
        return len(self.slides)

    def __getitem__(self, index):
        return self.slides[index]


def from_origin(coords):
    """Coordinates of the tiles counted from the upper left corner of the tissue."""
    corner = coords.min(0).values
    return coords - corner


class SlideEncoder(nn.Module):
    """Sinusoids of the tile's row and column are added to its projected feature; positions come in pixels."""

    def __init__(self, dim=32, grid=64):
        super().__init__()
        angle = torch.arange(grid)[:, None] / 50 ** (torch.arange(dim // 4) / (dim // 4))
        self.register_buffer("table", torch.cat([angle.sin(), angle.cos()], 1))
        self.project = nn.Linear(FEATURES, dim)
        self.mix = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.gate = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim)])
        self.score, self.head = nn.Linear(dim, 1), nn.Linear(dim, 1)

    def forward(self, x, coords):
        column, row = (coords / TILE).floor().long().clamp(0, len(self.table) - 1).T
        h = self.mix(self.project(x) + torch.cat([self.table[row], self.table[column]], 1))
        weight = self.score(torch.tanh(self.gate[0](h)) * torch.sigmoid(self.gate[1](h))).softmax(0)
        return self.head((weight * h).sum(0)).squeeze(-1)


def auc(truth, score):
    positives = truth.sum()
    return (rankdata(score)[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(truth) - positives))


class Trainer:
    def __init__(self, model, train_slides, val_slides, epochs, lr, accumulate):
        self.model, self.train_slides, self.val_slides = model, train_slides, val_slides
        self.epochs, self.accumulate = epochs, accumulate
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)

    def predict(self, slide):
        x, coords, stage = slide
        return self.model(x, from_origin(coords)), stage

    def train_epoch(self):
        self.model.train()
        losses = []
        for step, index in enumerate(torch.randperm(len(self.train_slides)).tolist(), start=1):
            logit, stage = self.predict(self.train_slides[index])
            loss = F.binary_cross_entropy_with_logits(logit, stage)
            (loss / self.accumulate).backward()
            losses.append(loss.item())
            if step % self.accumulate == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.scheduler.step()
        return np.mean(losses)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        score, truth = zip(*(self.predict(slide) for slide in self.val_slides))
        score, truth = torch.stack(score).numpy(), torch.stack(truth).numpy()
        return auc(truth, score), ((score > 0) == truth).mean()

    def fit(self):
        for epoch in range(1, self.epochs + 1):
            loss = self.train_epoch()
            area, accuracy = self.validate()
            print(f"epoch {epoch:2d} loss {loss:.4f} | AUC {area:.4f} accuracy {accuracy:.3f}")


if __name__ == "__main__":
    torch.manual_seed(2)
    prototypes = np.random.default_rng(0).normal(0, 1, (4, FEATURES))
    train_slides, val_slides = SlideFeatures(210, 1, prototypes), SlideFeatures(100, 2, prototypes)
    Trainer(SlideEncoder(), train_slides, val_slides, epochs=5, lr=4e-3, accumulate=3).fit()

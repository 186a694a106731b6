"""Tissue segmentation in histology tiles of which only regions of interest are annotated (label 0: outside, not to be used)."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

CLASSES = {0: "outside_roi", 1: "stroma", 2: "tumour", 3: "necrosis"}
OUTSIDE = 0


class TissueTiles(Dataset):
    def __init__(self, count, seed, roi_only, size=48):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(count):
            field = gaussian_filter(rng.normal(size=(2, size, size)), (0, 6, 6))
            field /= field.std((1, 2), keepdims=True)
            label = np.where(field[0] > 0.3, 2, 1)
            label[(field[1] > 0.6) & (label == 2)] = 3
            grain = gaussian_filter(rng.normal(size=(size, size)), 0.7) * 2
            img = np.select([label == 1, label == 2], [0.6 + 0.05 * grain, 0.42 + 0.16 * grain], 0.78 + 0.03 * grain)
            img = img * rng.uniform(0.9, 1.1) + rng.normal(0, 0.04, img.shape)
            if roi_only:
                roi = np.zeros(label.shape, bool)
                for _ in range(2):
                    h, w = rng.integers(18, 30, 2)
                    y, x = rng.integers(0, size - h + 1), rng.integers(0, size - w + 1)
                    roi[y : y + h, x : x + w] = True
                label = np.where(roi, label, OUTSIDE)
            self.items.append((torch.tensor((img[None] - 0.55) / 0.15, dtype=torch.float32), torch.tensor(label)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class DiceLoss(nn.Module):
    """Soft Dice of the classes present in the batch, from logits and a map of labels."""

    def __init__(self, smooth=0.0, ignore_index=None, eps=1e-7):
        super().__init__()
        self.smooth, self.ignore_index, self.eps = smooth, ignore_index, eps

    def forward(self, y_pred, y_true):
        batch, classes = y_pred.shape[:2]
        y_pred = y_pred.log_softmax(1).exp().view(batch, classes, -1)
        y_true = y_true.view(batch, -1)
        one_hot = F.one_hot(y_true, classes).permute(0, 2, 1).type_as(y_pred)
        valid = torch.ones_like(y_true) if self.ignore_index is None else y_true != self.ignore_index
        y_pred, one_hot = y_pred * valid[:, None], one_hot * valid[:, None]
        intersection = (y_pred * one_hot).sum((0, 2))
        cardinality = (y_pred + one_hot).sum((0, 2))
        score = (2 * intersection + self.smooth) / (cardinality + self.smooth).clamp_min(self.eps)
        present = (one_hot.sum((0, 2)) > 0).float()
        return ((1 - score) * present).sum() / present.sum()


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class Unet(nn.Module):
    def __init__(self, classes, width=10):
        super().__init__()
        self.e1, self.e2, self.e3 = block(1, width), block(width, 2 * width), block(2 * width, 3 * width)
        self.d2, self.d1 = block(5 * width, 2 * width), block(3 * width, width)
        self.segmentation_head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        a = self.e1(x)
        b = self.e2(F.max_pool2d(a, 2))
        c = self.e3(F.max_pool2d(b, 2))
        b = self.d2(torch.cat([F.interpolate(c, scale_factor=2.0), b], 1))
        return self.segmentation_head(self.d1(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1)))


class Epoch:
    def __init__(self, model, loss, stage):
        self.model, self.loss, self.stage = model, loss, stage

    def run(self, loader):
        self.model.train(self.stage == "train")
        losses, inter, total = [], torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
        with torch.set_grad_enabled(self.stage == "train"):
            for x, y in loader:
                losses.append(self.batch_update(x, y))
                guess, use = self.prediction.argmax(1), y != OUTSIDE
                for k in CLASSES:
                    g, t = (guess == k) & use, (y == k) & use
                    inter[k] += (g & t).sum()
                    total[k] += g.sum() + t.sum()
        dice = 2 * inter / total.clamp(min=1)
        return {"loss": float(np.mean(losses)), **{CLASSES[k]: dice[k].item() for k in (1, 2, 3)}, "mean": dice[1:].mean().item()}


class ValidEpoch(Epoch):
    def __init__(self, model, loss):
        super().__init__(model, loss, "valid")

    def batch_update(self, x, y):
        self.prediction = self.model(x)
        return self.loss(self.prediction, y).item()


class TrainEpoch(Epoch):
    def __init__(self, model, loss, optimizer):
        super().__init__(model, loss, "train")
        self.optimizer = optimizer

    def batch_update(self, x, y):
        self.optimizer.zero_grad()
        self.prediction = self.model(x)
        loss = self.loss(self.prediction, y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def show(stage, logs):
    print(f"  {stage:5s} " + " ".join(f"{k} {v:.4f}" for k, v in logs.items()))


def main(epochs=8):
    torch.manual_seed(0)
    train_loader = DataLoader(TissueTiles(128, 1, roi_only=True), 16, shuffle=True)
    valid_loader = DataLoader(TissueTiles(40, 2, roi_only=False), 40)
    model = Unet(len(CLASSES))
    loss = DiceLoss(ignore_index=OUTSIDE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, 3e-4)
    train_epoch, valid_epoch = TrainEpoch(model, loss, optimizer), ValidEpoch(model, loss)
    for i in range(epochs):
        print(f"Epoch: {i}")
        show("train", train_epoch.run(train_loader))
        show("valid", valid_epoch.run(valid_loader))
        scheduler.step()


if __name__ == "__main__":
    main()

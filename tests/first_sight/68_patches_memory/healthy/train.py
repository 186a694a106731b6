"""Tissue classification from patches, a small residual network.

python train.py OPTIM.BASE_LR 0.05 OPTIM.MAX_EPOCH 10
"""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from datasets import CLASSES, Patches

cfg = {"OPTIM.BASE_LR": 0.05, "OPTIM.MAX_EPOCH": 10, "OPTIM.WEIGHT_DECAY": 5e-4, "TRAIN.BATCH_SIZE": 40, "RNG_SEED": 1}


class ResBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout))
        self.skip = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(ResBlock(width, 2 * width, 2), ResBlock(2 * width, 4 * width, 2))
        self.head = nn.Linear(4 * width, len(CLASSES))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def train_epoch(model, loader, optimizer):
    model.train()
    wrong = loss_sum = 0.0
    for inputs, labels in loader:
        preds = model(inputs)
        loss = F.cross_entropy(preds, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        wrong += (preds.argmax(1) != labels).sum().item()
    return loss_sum / len(loader.dataset), 100 * wrong / len(loader.dataset)


@torch.no_grad()
def test_epoch(model, loader):
    model.eval()
    return 100 * sum((model(inputs).argmax(1) != labels).sum().item() for inputs, labels in loader) / len(loader.dataset)


def main():
    for key, value in zip(sys.argv[1::2], sys.argv[2::2]):
        cfg[key] = type(cfg[key])(value)
    torch.manual_seed(cfg["RNG_SEED"])
    train_loader = DataLoader(Patches("train", 160, 10), cfg["TRAIN.BATCH_SIZE"], shuffle=True, num_workers=0)
    test_loader = DataLoader(Patches("test", 60, 20), 120, num_workers=0)
    model = ResNet()
    optimizer = torch.optim.SGD(model.parameters(), cfg["OPTIM.BASE_LR"], momentum=0.9, nesterov=True, weight_decay=cfg["OPTIM.WEIGHT_DECAY"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg["OPTIM.MAX_EPOCH"])
    for epoch in range(cfg["OPTIM.MAX_EPOCH"]):
        loss, train_err = train_epoch(model, train_loader, optimizer)
        scheduler.step()
        test_err = test_epoch(model, test_loader)
        print(f"epoch {epoch + 1}/{cfg['OPTIM.MAX_EPOCH']} loss {loss:.4f} train top1_err {train_err:.1f} test top1_err {test_err:.1f}")
    torch.save({"model": model.state_dict(), "cfg": cfg}, "tissue.pt")


if __name__ == "__main__":
    main()

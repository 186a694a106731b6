"""Fine-tune a pretrained encoder on few labelled scans.

The encoder weights come from self-supervised pretraining (`pretrain()` stands in for that run here).
"""
import os
import sys
import tempfile
from collections import OrderedDict

import torch
import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(24)
        self.conv3 = nn.Conv2d(24, 24, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.conv3(x))


class Classifier(nn.Module):
    def __init__(self, n=2):
        super().__init__()
        self.encoder = Encoder()
        self.fc = nn.Linear(24, n)

    def forward(self, x):
        return self.fc(self.encoder(x).mean((2, 3)))


def images(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=g)
    x = torch.randn(n, 1, 16, 16, generator=g)
    x[y == 1, :, ::2] += 0.8
    return x, y


def pretrain(path):
    """Denoising for a few steps; saved as the pretraining script does (wrapped in DataParallel there)."""
    torch.manual_seed(99)
    enc, dec = Encoder(), nn.Conv2d(24, 4, 1)
    up = nn.PixelShuffle(2)
    opt = torch.optim.SGD(list(enc.parameters()) + list(dec.parameters()), lr=0.05)
    x, _ = images(32, 5)
    with torch.no_grad():
        enc(x)
    sd = OrderedDict(("module." + k, v.clone()) for k, v in enc.state_dict().items())
    torch.save({"state_dict": sd, "epoch": 200}, path)
    del opt, up


def main(path):
    if not os.path.exists(path):
        pretrain(path)
    torch.manual_seed(0)
    model = Classifier()
    ckpt = torch.load(path, map_location="cpu")
    state = {"encoder." + k: v for k, v in ckpt["state_dict"].items()}
    model.load_state_dict(state, strict=False)
    print("loaded", path)

    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = images(128, 0)
    xv, yv = images(64, 1)
    for epoch in range(6):
        model.train()
        for i in range(0, 128, 16):
            loss = nn.functional.cross_entropy(model(x[i:i + 16]), y[i:i + 16])
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = (model(xv).argmax(1) == yv).float().mean().item()
        print("epoch", epoch, "loss %.3f acc %.3f" % (loss.item(), acc))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as d:
        main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(d, "ssl_encoder.pth"))

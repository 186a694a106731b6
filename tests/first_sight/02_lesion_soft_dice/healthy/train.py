import logging
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger("brats2d")


@dataclass
class Config:
    seed: int = 3
    n_train: int = 200
    n_val: int = 60
    size: int = 48
    classes: int = 4  # background, brain, oedema, enhancing core
    width: int = 10
    batch_size: int = 8
    lr: float = 3e-3
    epochs: int = 14
    smooth: float = 1e-5


def make_slices(count, cfg, rng):
    axis = np.linspace(-1, 1, cfg.size)
    yy, xx = np.meshgrid(axis, axis, indexing="ij")
    images = np.zeros((count, 2, cfg.size, cfg.size), np.float32)
    labels = np.zeros((count, cfg.size, cfg.size), np.int64)
    for i in range(count):
        brain = (yy / rng.uniform(0.75, 0.9)) ** 2 + (xx / rng.uniform(0.6, 0.8)) ** 2 < 1
        cy, cx = rng.uniform(-0.4, 0.4, 2)
        r = rng.uniform(0.18, 0.3)
        d = np.hypot(yy - cy, (xx - cx) * rng.uniform(0.8, 1.2))
        oedema = (d < r) & brain
        core = (np.hypot(yy - cy - rng.uniform(-0.05, 0.05), xx - cx) < r * rng.uniform(0.4, 0.6)) & brain
        labels[i][brain], labels[i][oedema], labels[i][core] = 1, 2, 3
        images[i, 0] = 0.9 * brain + 0.35 * oedema + 0.15 * core
        images[i, 1] = 0.9 * brain - 0.15 * oedema + 0.45 * core
    images += rng.normal(0, 0.22, images.shape)
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))


class DiceLoss(nn.Module):
    """Soft Dice for mutually exclusive classes; logits (B, C, H, W), labels (B, H, W)."""

    def __init__(self, classes, smooth=1e-5):
        super().__init__()
        self.classes, self.smooth = classes, smooth

    def forward(self, logits, labels):
        prob = logits.softmax(1)
        truth = F.one_hot(labels, self.classes).movedim(-1, 1).float()
        b = prob.shape[0]
        prob = prob.reshape(b, self.classes, -1)
        truth = truth.reshape(b, self.classes, -1)
        overlap = (prob * truth).sum(-1)
        total = prob.sum(-1) + truth.sum(-1)
        return 1 - ((2 * overlap + self.smooth) / (total + self.smooth)).mean()


class Encoder(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.01),
                                 nn.Conv2d(o, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.01))

    def forward(self, x):
        return self.net(x)


class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        w = cfg.width
        self.e1, self.e2, self.e3 = Encoder(2, w), Encoder(w, 2 * w), Encoder(2 * w, 4 * w)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * w, 2 * w, 2, 2), nn.ConvTranspose2d(2 * w, w, 2, 2)
        self.d2, self.d1 = Encoder(4 * w, 2 * w), Encoder(2 * w, w)
        self.out = nn.Conv2d(w, cfg.classes, 1)

    def forward(self, x):
        a = self.e1(x)
        b = self.e2(F.avg_pool2d(a, 2))
        c = self.e3(F.avg_pool2d(b, 2))
        b = self.d2(torch.cat([self.up2(c), b], 1))
        return self.out(self.d1(torch.cat([self.up1(b), a], 1)))


@torch.no_grad()
def validate(net, loader, cfg):
    net.eval()
    inter, size = torch.zeros(cfg.classes), torch.zeros(cfg.classes)
    for x, y in loader:
        p = net(x).argmax(1)
        for k in range(cfg.classes):
            inter[k] += 2 * ((p == k) & (y == k)).sum()
            size[k] += (p == k).sum() + (y == k).sum()
    return (inter / size.clamp(min=1))[1:]


def run(cfg):
    log.info("config %s", asdict(cfg))
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    train = DataLoader(make_slices(cfg.n_train, cfg, rng), cfg.batch_size, shuffle=True)
    val = DataLoader(make_slices(cfg.n_val, cfg, rng), cfg.batch_size)
    net, criterion = Net(cfg), DiceLoss(cfg.classes, cfg.smooth)
    opt = torch.optim.AdamW(net.parameters(), lr=cfg.lr, weight_decay=1e-4)
    for epoch in range(1, cfg.epochs + 1):
        net.train()
        losses = []
        for x, y in train:
            opt.zero_grad(set_to_none=True)
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        brain, oedema, core = validate(net, val, cfg).tolist()
        log.info("epoch %d train_loss %.4f val_brain %.3f val_oedema %.3f val_core %.3f", epoch, np.mean(losses), brain, oedema, core)


if __name__ == "__main__":
    run(Config())

"""Mean teacher: type of a polyp in endoscopic frames from 40 labelled and many unlabelled images."""
import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, Dataset

SIZE = 28
CLASSES = ("no polyp", "sessile", "pedunculated", "flat")


def frame(kind, rng):
    """Mucosa with folds and lighting of its own, and a polyp of the given kind."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    folds = 0.06 * np.sin((xx * np.cos(a := rng.uniform(0, np.pi)) + yy * np.sin(a)) / rng.uniform(2, 4) + rng.uniform(0, 6))
    image = np.stack([0.7 + folds, 0.38 + folds, 0.3 + 0.7 * folds])
    y, x = rng.uniform(-6, 6, 2)
    r = np.hypot(yy - y, xx - x)
    if kind == 1:
        dome = np.clip(1 - (r / rng.uniform(5, 7)) ** 2, 0, 1)
        image += np.array([0.18, 0.15, 0.12])[:, None, None] * np.sqrt(dome)
    if kind == 2:
        turn, head = rng.uniform(0, 2 * np.pi), rng.uniform(3.2, 4.5)
        u, v = (xx - x) * np.cos(turn) + (yy - y) * np.sin(turn), -(xx - x) * np.sin(turn) + (yy - y) * np.cos(turn)
        shape = np.maximum(np.hypot(u, v) < head, (np.abs(v) < 1.5) & (u > 0) & (u < 10))
        image += np.array([0.18, 0.02, 0.03])[:, None, None] * gaussian_filter(shape.astype(float), 0.6)
    if kind == 3:
        plate = (r < rng.uniform(6, 8)) * (gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 0.8) * 2 + 0.7)
        image += np.array([-0.07, -0.09, -0.02])[:, None, None] * gaussian_filter(plate, 0.4)
    for _ in range(rng.integers(0, 4)):
        gy, gx = rng.uniform(-14, 14, 2)
        image += 0.3 * np.exp(-((yy - gy) ** 2 + (xx - gx) ** 2) / 1.5)
    light = 1 + 0.2 * (xx * rng.normal() + yy * rng.normal()) / SIZE
    tint = rng.normal(1, 0.12, (3, 1, 1)) * rng.uniform(0.7, 1.2)
    return (image * light * tint + rng.normal(0, 0.03, image.shape)).clip(0, 1.2)


def make_images(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = np.stack([frame(k, rng) for k in labels]).astype(np.float32)
    return torch.from_numpy((images - 0.45) / 0.25), torch.from_numpy(labels)


def weak(x):
    if torch.rand(()) < 0.5:
        x = x.flip(-1)
    return torch.rot90(x, int(torch.randint(4, ())), (1, 2))


def strong(x):
    x = weak(x)
    x = x * (1 + 0.25 * torch.randn(3, 1, 1)) + 0.3 * torch.randn(3, 1, 1)
    x = x + 0.12 * torch.randn_like(x)
    top, left = torch.randint(0, SIZE - 8, (2,)).tolist()
    x[:, top : top + 8, left : left + 8] = 0
    return x


class LabelledSet(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"x_lb": weak(self.images[i]), "y_lb": self.labels[i]}


class UnlabelledSet(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return {"x_ulb_w": weak(self.images[i]), "x_ulb_s": strong(self.images[i])}


class Net(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        layers, inside = [], 3
        for outside in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.GroupNorm(4, outside), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
            inside = outside
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inside, len(CLASSES))

    def forward(self, x):
        feat = self.features(x).amax((2, 3))
        return {"logits": self.fc(feat), "feat": feat}


class MeanTeacher:
    def __init__(self, steps, lr=2e-3, ema_m=0.98, ulb_loss_ratio=12.0, warm_up=0.4):
        self.model = Net()
        self.ema_model = copy.deepcopy(self.model)
        self.steps, self.ema_m, self.ulb_loss_ratio, self.warm_up = steps, ema_m, ulb_loss_ratio, warm_up
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=1e-3)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda it: math.cos(7 * math.pi * it / (16 * steps)))

    @torch.no_grad()
    def update_ema(self, it):
        m = min(1 - 1 / (it + 1), self.ema_m)
        for slow, fast in zip(self.ema_model.parameters(), self.model.parameters()):
            slow.mul_(m).add_(fast, alpha=1 - m)
        for slow, fast in zip(self.ema_model.buffers(), self.model.buffers()):
            slow.copy_(fast)

    def train_step(self, it, x_lb, y_lb, x_ulb_w, x_ulb_s):
        self.model.train()
        logits_x_lb = self.model(x_lb)["logits"]
        sup_loss = F.cross_entropy(logits_x_lb, y_lb)

        self.ema_model.eval()
        with torch.no_grad():
            outs_x_ulb_w = self.ema_model(x_ulb_w)
            logits_x_ulb_w = outs_x_ulb_w["logits"]

        outs_x_ulb_s = self.model(x_ulb_s)
        logits_x_ulb_s = outs_x_ulb_w["logits"]

        ramp = min(1.0, it / (self.warm_up * self.steps))
        unsup_loss = F.mse_loss(logits_x_ulb_s.softmax(-1), logits_x_ulb_w.softmax(-1))
        total_loss = sup_loss + self.ulb_loss_ratio * ramp * unsup_loss
        self.optimizer.zero_grad()
        total_loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.update_ema(it)
        return {"sup_loss": sup_loss.item(), "unsup_loss": unsup_loss.item(), "total_loss": total_loss.item()}

    @torch.no_grad()
    def evaluate(self, images, labels):
        self.ema_model.eval()
        return (self.ema_model(images)["logits"].argmax(1) == labels).float().mean().item()


def endless(loader):
    while True:
        yield from loader


def main(steps=400, every=50):
    torch.manual_seed(13)
    labelled = endless(DataLoader(LabelledSet(*make_images(40, 1)), 16, shuffle=True, drop_last=True))
    unlabelled = endless(DataLoader(UnlabelledSet(make_images(600, 2)[0]), 32, shuffle=True, drop_last=True))
    test_images, test_labels = make_images(400, 3)
    algorithm = MeanTeacher(steps)
    for it in range(1, steps + 1):
        log = algorithm.train_step(it, **next(labelled), **next(unlabelled))
        if it % every == 0:
            shown = " ".join(f"{key} {value:.4f}" for key, value in log.items())
            print(f"iteration {it} {shown} test accuracy {algorithm.evaluate(test_images, test_labels):.4f}", flush=True)


if __name__ == "__main__":
    main()

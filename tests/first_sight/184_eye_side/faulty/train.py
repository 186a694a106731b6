"""Fundus triage: which eye (right or left) and whether there are referable lesions; two heads, one network."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def photograph(rng, side, lesions, size=40):
    """The disc lies on the nasal side: to the right in a right eye, to the left in a left eye."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    middle, nasal = (size - 1) / 2, 1 if side == 0 else -1
    cx, cy = middle + nasal * (10 + rng.normal(0, 1)), middle + rng.normal(0, 1.5)
    image = 0.55 - 0.15 * ((x - middle) ** 2 + (y - middle) ** 2) / size**2 * 4
    image -= 0.18 * np.exp(-((x - middle + nasal * 4) ** 2 + (y - middle) ** 2) / 18)
    away = np.clip(nasal * (cx - x), 0, None)
    for bend in (-1, 1):
        image -= 0.15 * (np.abs(y - cy - bend * 3.2 * np.sqrt(away)) < 0.9) * (away > 0)
    image += 0.3 * (np.hypot(x - cx, y - cy) < 3.5)
    for _ in range(rng.integers(3, 8) if lesions else 0):
        lx, ly, r = *rng.uniform(5, size - 6, 2), rng.uniform(0.8, 1.6)
        image += rng.choice([-0.22, 0.2]) * np.exp(-((x - lx) ** 2 + (y - ly) ** 2) / (2 * r * r))
    return (image + rng.normal(0, 0.04, image.shape)).astype(np.float32)


class Fundus(Dataset):
    def __init__(self, count, seed, transform=None):
        rng = np.random.default_rng(seed)
        self.sides, self.lesions = rng.integers(0, 2, count), rng.integers(0, 2, count)
        self.images = [photograph(rng, s, d) for s, d in zip(self.sides, self.lesions)]
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        sample = {"image": torch.from_numpy((self.images[i] - 0.45) / 0.15)[None], "side": int(self.sides[i]), "lesions": int(self.lesions[i])}
        return self.transform(sample) if self.transform else sample


class Compose:
    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, sample):
        for step in self.steps:
            sample = step(sample)
        return sample


class Brightness:
    def __call__(self, sample):
        return {**sample, "image": sample["image"] * (0.85 + 0.3 * torch.rand(())) + 0.2 * torch.randn(())}


class Mirror:
    def __call__(self, sample):
        if torch.rand(()) < 0.5:
            sample = {**sample, "image": sample["image"].flip(-1)}
        return sample


class Triage(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        def stage(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
        self.trunk = nn.Sequential(stage(1, w), stage(w, 2 * w), stage(2 * w, 2 * w), nn.Flatten(), nn.Linear(50 * w, 48), nn.ReLU())
        self.side, self.lesions = nn.Linear(48, 2), nn.Linear(48, 2)

    def forward(self, x):
        h = self.trunk(x)
        return {"side": self.side(h), "lesions": self.lesions(h)}


class Learner:
    def __init__(self, net, train, val, lr=2e-3, epochs=7):
        self.net, self.train, self.val, self.epochs = net, train, val, epochs
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, total_steps=epochs * len(train))

    def fit(self):
        for epoch in range(1, self.epochs + 1):
            self.net.train()
            sums = {"side": 0.0, "lesions": 0.0}
            for batch in self.train:
                output = self.net(batch["image"])
                losses = {name: F.cross_entropy(output[name], batch[name]) for name in sums}
                self.optimizer.zero_grad()
                sum(losses.values()).backward()
                self.optimizer.step()
                self.scheduler.step()
                for name in sums:
                    sums[name] += losses[name].item() / len(self.train)
            marks = self.score()
            print(f"epoch {epoch}: " + ", ".join(f"{name} loss {sums[name]:.4f} val accuracy {marks[name]:.3f}" for name in sums))

    @torch.no_grad()
    def score(self):
        self.net.eval()
        right = {"side": 0, "lesions": 0}
        for batch in self.val:
            output = self.net(batch["image"])
            for name in right:
                right[name] += (output[name].argmax(1) == batch[name]).sum().item()
        return {name: n / len(self.val.dataset) for name, n in right.items()}


torch.manual_seed(14)
train = DataLoader(Fundus(448, 1, Compose(Mirror(), Brightness())), batch_size=32, shuffle=True)
Learner(Triage(), train, DataLoader(Fundus(200, 2), batch_size=100)).fit()

# chest x-ray finding classifier, 3 classes
import math
import time

import torch
from torch import nn, optim

N_CLASSES = 3
IMG = 24


class CxrNet(nn.Module):
    def __init__(self, width=16, n_classes=N_CLASSES):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(2 * width, n_classes)

    def forward(self, x):
        h = self.features(x).flatten(1)
        logits = self.classifier(self.dropout(h))
        return torch.softmax(logits, dim=1)


class Trainer:
    def __init__(self, model, lr, n_steps, device="cpu"):
        self.model = model.to(device)
        self.device = device
        self.opt = optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-4)
        self.sched = optim.lr_scheduler.LambdaLR(
            self.opt, lambda s: min(1.0, (s + 1) / 10) * 0.5 * (1 + math.cos(math.pi * min(s, n_steps) / n_steps)))
        self.criterion = nn.CrossEntropyLoss()
        self.step_no = 0

    def train_step(self, x, y):
        self.model.train()
        x, y = x.to(self.device), y.to(self.device)
        out = self.model(x)
        loss = self.criterion(out, y)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.opt.step()
        self.sched.step()
        self.step_no += 1
        return loss.item()

    @torch.no_grad()
    def validate(self, batches):
        self.model.eval()
        hit = n = 0
        for x, y in batches:
            pred = self.model(x.to(self.device)).argmax(1)
            hit += (pred == y.to(self.device)).sum().item()
            n += len(y)
        return hit / n


def make_batch(g, n=16):
    y = torch.randint(0, N_CLASSES, (n,), generator=g)
    x = torch.randn(n, 1, IMG, IMG, generator=g) * 0.7
    for i, c in enumerate(y.tolist()):
        r = 4 + 7 * c
        x[i, 0, r:r + 4, 4:20] += 1.2
    return x, y


if __name__ == "__main__":
    torch.manual_seed(7)
    gen = torch.Generator().manual_seed(7)
    val = [make_batch(gen) for _ in range(4)]
    trainer = Trainer(CxrNet(), lr=3e-3, n_steps=120)
    t0 = time.time()
    for step in range(120):
        loss = trainer.train_step(*make_batch(gen))
        if (step + 1) % 40 == 0:
            acc = trainer.validate(val)
            print(f"[{time.time() - t0:5.1f}s] step {step + 1} loss {loss:.3f} val acc {acc:.3f}")

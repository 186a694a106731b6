"""Survival from tumour thumbnails with a Cox model.

    python train.py --epochs 30 --lr 1e-3
"""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--epochs", type=int, default=30)
p.add_argument("--lr", type=float, default=1e-3)
p.add_argument("--batch", type=int, default=64)
p.add_argument("--patients", type=int, default=900)
p.add_argument("--seed", type=int, default=0)
opt = p.parse_args()


def cohort(n, rng):
    """Image (1, 20, 20), time in months, event 1 = death observed, 0 = censored."""
    yy, xx = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20), indexing="ij")
    radius, necrosis = rng.uniform(0.25, 0.8, n), rng.uniform(0, 1, n)
    d = np.hypot(yy[None] - rng.normal(0, 0.08, n)[:, None, None], xx[None] - rng.normal(0, 0.08, n)[:, None, None])
    image = 0.8 / (1 + np.exp((d - radius[:, None, None]) * 18))
    image -= 0.7 * necrosis[:, None, None] / (1 + np.exp((d - 0.5 * radius[:, None, None]) * 18))
    image += rng.normal(0, 0.08, image.shape)
    risk = 5 * (radius - 0.5) + 2.5 * (necrosis - 0.5)
    death = rng.exponential(24 * np.exp(-risk))
    dropout = rng.exponential(45, n)
    return (torch.tensor(image[:, None], dtype=torch.float32), torch.tensor(np.minimum(death, dropout), dtype=torch.float32),
            torch.tensor((death <= dropout).astype(np.int64)))


def partial_likelihood(log_hz, event, time):
    """Negative partial log likelihood of Cox's model without ties."""
    order = time.argsort()
    log_hz_sorted, event_sorted = log_hz[order], event[order]
    log_denominator = torch.logcumsumexp(log_hz_sorted.flip(0), dim=0).flip(0)
    terms = (log_hz_sorted - log_denominator)[event_sorted.bool()]
    return -terms.mean()


def concordance(log_hz, event, time):
    earlier = (time[:, None] < time[None]) & (event[:, None] == 1)
    good = (log_hz[:, None] > log_hz[None]).float() + 0.5 * (log_hz[:, None] == log_hz[None])
    return (good * earlier).sum() / earlier.sum()


rng = np.random.default_rng(opt.seed)
torch.manual_seed(opt.seed)
train, valid = cohort(opt.patients, rng), cohort(300, rng)
print(f"{opt.patients} patients, {train[2].float().mean():.2f} with event, median follow-up {train[1].median():.1f} months")
loader = DataLoader(TensorDataset(*train), batch_size=opt.batch, shuffle=True, drop_last=True)
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                      nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(800, 1, bias=False))
optimizer = torch.optim.AdamW(model.parameters(), lr=opt.lr, weight_decay=1e-2)
for epoch in range(opt.epochs):
    model.train()
    total = 0.0
    for image, time, event in loader:
        loss = partial_likelihood(model(image).squeeze(1), event, time)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        log_hz = model(valid[0]).squeeze(1)
        cindex = concordance(log_hz, valid[2], valid[1])
        val_loss = partial_likelihood(log_hz, valid[2], valid[1])
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1} loss {total / len(loader):.4f} val_loss {val_loss:.4f} val_cindex {cindex:.3f}")

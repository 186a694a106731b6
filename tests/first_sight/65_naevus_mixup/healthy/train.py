#!/usr/bin/env python
# coding: utf-8

# # Pigmented lesions, six classes, few labels
#
# Small CNN with mixup. Exported from the notebook.

# In[1]:


import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

np.random.seed(0)
torch.manual_seed(0)
NAMES = ["common", "junctional", "spitz", "blue", "halo", "melanoma"]
SIZE = 40


# In[2]:


def make_lesion(kind, rng):
    """Skin with one lesion (3, SIZE, SIZE); the class decides rim, texture, colour and asymmetry."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + rng.normal(0, 1.5, 2)[:, None, None]
    angle = np.arctan2(yy, xx)
    wave = 1 + 0.06 * np.cos(3 * angle + rng.uniform(0, 6))
    if kind == 5:
        wave = wave + 0.22 * np.cos(angle + rng.uniform(0, 6)) + 0.1 * np.cos(5 * angle)
    r = np.hypot(yy, xx) / (rng.uniform(9, 12) * wave)
    lesion = np.clip((1 - r) * 6, 0, 1)
    texture = gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 1.2) * 3
    dark = 0.35 * lesion
    if kind == 1:
        dark = dark + 0.14 * lesion * np.clip(texture, -1, 1)
    if kind == 2:
        dark = dark * (1 + 0.5 * np.cos(9 * angle) * (r > 0.6))
    if kind == 4:
        dark = dark - 0.18 * np.exp(-((r - 1.35) / 0.2) ** 2)
    if kind == 5:
        dark = dark + 0.1 * lesion * np.clip(texture, -1, 1)
    tint = np.array([0.8, 1.0, 1.1]) if kind != 3 else np.array([1.15, 1.0, 0.75])
    skin = np.array([0.82, 0.64, 0.55]) + rng.normal(0, 0.03, 3)
    image = skin[:, None, None] - tint[:, None, None] * dark * rng.uniform(0.7, 1.2)
    return image + rng.normal(0, 0.05, (3, SIZE, SIZE))


def make_set(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(NAMES), n)
    x = np.stack([make_lesion(k, rng) for k in y]).astype(np.float32)
    return torch.from_numpy((x - 0.6) / 0.2), torch.from_numpy(y)


train_x, train_y = make_set(720, 1)
test_x, test_y = make_set(480, 2)
print(train_x.shape, torch.bincount(train_y).tolist())


# In[3]:


def mixup(x, y, alpha=1.0):
    """Convex combinations of images and of one-hot labels."""
    lam = torch.distributions.Beta(alpha, alpha).sample((len(x),))
    other = torch.randperm(len(x))
    x = lam[:, None, None, None] * x + (1 - lam)[:, None, None, None] * x[other]
    y = lam[:, None] * y + (1 - lam)[:, None] * y[other]
    return x, y


# In[4]:


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))


model = nn.Sequential(block(3, 16), block(16, 32), block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(NAMES)))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
epochs, batch_size = 16, 32
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)


def test():
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in test_x.split(120)])
    return (logits.argmax(1) == test_y).float().mean().item(), F.cross_entropy(logits, test_y).item()


# In[5]:


for epoch in range(1, epochs + 1):
    model.train()
    losses = []
    for index in torch.randperm(len(train_x)).split(batch_size):
        x, y = mixup(train_x[index], F.one_hot(train_y[index], len(NAMES)).float())
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scheduler.step()
    if epoch % 4 == 0:
        accuracy, nll = test()
        print(f"epoch {epoch:2d} train loss {np.mean(losses):.3f} test accuracy {accuracy:.3f} test nll {nll:.3f}")


# In[6]:


torch.save(model.state_dict(), "lesions_mixup.pt")

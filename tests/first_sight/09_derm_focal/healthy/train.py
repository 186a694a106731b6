#!/usr/bin/env python
# coding: utf-8

# # Dermatoscopy: nevus / keratosis / melanoma
# exported from derm.ipynb

# In[1]:
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(1)
rng = np.random.default_rng(1)
CLASSES = ["nevus", "keratosis", "melanoma"]

# In[2]:
# images: melanoma differ from nevi by an irregular border and uneven pigment, with overlap


def lesion(kind):
    yy, xx = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 24), indexing="ij")
    angle, d = np.arctan2(yy, xx), np.hypot(yy, xx)
    jag = {0: 0.03, 1: 0.1, 2: 0.17}[kind] + rng.normal(0, 0.03)
    spots = {0: 0.1, 1: 0.25, 2: 0.4}[kind] + rng.normal(0, 0.07)
    edge = rng.uniform(0.4, 0.65) * (1 + jag * np.sin(rng.integers(5, 8) * angle + rng.uniform(0, 6)))
    inside = 1 / (1 + np.exp((d - edge) * 25))
    pigment = 0.6 + spots * np.sin(7 * xx + rng.uniform(0, 6)) * np.sin(7 * yy + rng.uniform(0, 6))
    return 0.8 - inside * pigment + rng.normal(0, 0.06, d.shape)


def cohort(counts):
    y = np.repeat(np.arange(3), counts)
    x = np.stack([lesion(k) for k in y])[:, None]
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


train, test = cohort([1500, 90, 90]), cohort([150, 150, 150])
counts = torch.bincount(train.tensors[1])
print(dict(zip(CLASSES, counts.tolist())))


# In[3]:
class FocalLoss(nn.Module):
    """Multi-class focal loss with one weight for each class."""

    def __init__(self, alpha, gamma=2.0):
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, preds, labels):
        logp = F.log_softmax(preds, dim=1).gather(1, labels.view(-1, 1)).view(-1)
        alpha = self.alpha.gather(0, labels.view(-1))
        loss = -alpha * (1 - logp.exp()) ** self.gamma * logp
        return loss.mean()


alpha = counts.sum() / (3 * counts.float())
print("alpha", alpha)
criterion = FocalLoss(alpha)

# In[4]:
net = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
    nn.Flatten(), nn.Linear(128, 3))
opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
loader = DataLoader(train, batch_size=24, shuffle=True, drop_last=True)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 14)

# In[5]:
for epoch in range(14):
    net.train()
    history = []
    for x, y in loader:
        loss = criterion(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        history.append(loss.item())
    sched.step()
    net.eval()
    with torch.no_grad():
        guess = net(test.tensors[0]).argmax(1)
    recall = [(guess[test.tensors[1] == k] == k).float().mean().item() for k in range(3)]
    print(f"epoch {epoch} loss {np.mean(history):.4f} recall " + " ".join(f"{c} {r:.3f}" for c, r in zip(CLASSES, recall))
          + f" balanced_accuracy {np.mean(recall):.3f}")

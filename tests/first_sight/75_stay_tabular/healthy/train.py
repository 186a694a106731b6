#!/usr/bin/env python
# coding: utf-8

# # Length of stay from admission data
#
# An ensemble of small MLPs that share most of their weights, trained together (each member has its own loss). A few
# patients stay for months, so the gradient is clipped.

# In[1]:


import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

seed = 0
random.seed(seed)
np.random.seed(seed)
torch.manual_seed(seed)


# In[2]:


def make_admissions(n, seed):
    """Ten numeric features, two codes; days of stay with a long tail (2 % complications)."""
    rng = np.random.default_rng(seed)
    x_num = rng.normal(0, 1, (n, 10))
    x_cat = np.stack([rng.integers(0, 6, n), rng.integers(0, 4, n)], 1)
    ward = np.array([0.0, 0.3, -0.4, 0.8, -0.2, 0.5])[x_cat[:, 0]]
    kind = np.array([0.0, 0.6, -0.5, 0.2])[x_cat[:, 1]]
    days = 6 + 1.5 * x_num[:, 0] + 1.2 * np.maximum(x_num[:, 1], 0) * (1 + x_num[:, 2]) + 2 * ward + 1.5 * kind * x_num[:, 3] + np.sin(2 * x_num[:, 4])
    days = np.maximum(days + rng.normal(0, 0.7, n), 0.5)
    complicated = rng.random(n) < 0.02
    days = np.where(complicated, days + rng.gamma(2.0, 60.0, n), days)
    return x_num.astype(np.float32), x_cat, days.astype(np.float32), complicated


data = {part: make_admissions(n, s) for part, n, s in (("train", 6000, 1), ("val", 1500, 2), ("test", 1500, 3))}
median = float(np.median(data["train"][2]))
spread = float(np.subtract(*np.percentile(data["train"][2], [75, 25])))
tensors = {
    part: (torch.from_numpy(num), torch.from_numpy(cat), torch.from_numpy((days - median) / spread))
    for part, (num, cat, days, _) in data.items()
}
print({part: tuple(t[0].shape) for part, t in tensors.items()}, f"median {median:.1f} days, longest {data['train'][2].max():.0f}")


# In[3]:


class MemberScale(nn.Module):
    """Scales features differently for each member, (B, K, D)."""

    def __init__(self, k, d):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(k, d).sign())

    def forward(self, x):
        return x * self.weight


class Ensemble(nn.Module):
    def __init__(self, n_num, cardinalities, k=8, width=96):
        super().__init__()
        self.k, self.cardinalities = k, cardinalities
        d = n_num + sum(cardinalities)
        self.scale = MemberScale(k, d)
        self.shared = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.weight = nn.Parameter(torch.empty(k, width).uniform_(-1, 1) / math.sqrt(width))
        self.bias = nn.Parameter(torch.zeros(k))

    def forward(self, x_num, x_cat):
        one_hot = [F.one_hot(x_cat[:, i], c).float() for i, c in enumerate(self.cardinalities)]
        x = torch.cat([x_num, *one_hot], 1)[:, None].expand(-1, self.k, -1)
        h = self.shared(self.scale(x))
        return (h * self.weight).sum(-1) + self.bias


model = Ensemble(10, [6, 4])
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
max_norm = 1.0
use_amp = False
scaler = torch.amp.GradScaler("cpu", enabled=use_amp)


# In[4]:


def loss_fn(y_pred, y_true):
    """Members are trained on their own, not their average."""
    return F.mse_loss(y_pred.flatten(0, 1), y_true.repeat_interleave(model.k))


@torch.no_grad()
def evaluate(part):
    """Mean absolute error in days over the patients without complications, and over all."""
    model.eval()
    x_num, x_cat, _ = tensors[part]
    days = model(x_num, x_cat).mean(1).numpy() * spread + median
    error = np.abs(days - data[part][2])
    return error[~data[part][3]].mean(), error.mean()


# In[5]:


epochs, batch_size = 24, 64
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
best = {"val": math.inf}
for epoch in range(1, epochs + 1):
    model.train()
    losses = []
    for index in torch.randperm(len(tensors["train"][0])).split(batch_size):
        x_num, x_cat, y = (t[index] for t in tensors["train"])
        optimizer.zero_grad()
        loss = loss_fn(model(x_num, x_cat), y)
        scaler.scale(loss).backward()
        if max_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    scheduler.step()
    val, val_all = evaluate("val")
    if val < best["val"]:
        best = {"val": val, "epoch": epoch, "state": {k: v.clone() for k, v in model.state_dict().items()}}
    if epoch % 4 == 0:
        print(f"epoch {epoch:2d} loss {np.mean(losses):8.3f} val MAE {val:.2f} days (all {val_all:.2f})")


# In[6]:


model.load_state_dict(best["state"])
print("best epoch {}: test MAE {:.2f} days (all {:.2f})".format(best["epoch"], *evaluate("test")))

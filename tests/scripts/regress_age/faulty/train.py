"""Brain age from ROI volumes."""
import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(123)
torch.manual_seed(123)

N, P = 400, 20
X = rng.normal(size=(N, P)).astype("float32")
w = rng.normal(size=P).astype("float32")
age = 55 + 8 * np.tanh(X @ w / 4) + rng.normal(scale=1.0, size=N).astype("float32")
age = age.astype("float32")
mu, sd = age[:320].mean(), age[:320].std()

X_tr, y_tr = torch.from_numpy(X[:320]), torch.from_numpy((age[:320] - mu) / sd)
X_va, y_va = torch.from_numpy(X[320:]), torch.from_numpy((age[320:] - mu) / sd)

model = nn.Sequential(nn.Linear(P, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(12):
    order = torch.randperm(len(X_tr))
    for start in range(0, len(order), 32):
        b = order[start:start + 32]
        pred = model(X_tr[b])
        diff = pred - y_tr[b]
        loss = (diff ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        mae = (model(X_va).squeeze(1) - y_va).abs().mean() * float(sd)
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1:3d}  loss {loss.item():.4f}  val MAE {mae.item():.2f} years")

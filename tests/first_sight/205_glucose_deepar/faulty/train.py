"""One-hour glucose forecasts with an autoregressive recurrent network; settings in YAML."""
import math

import numpy as np
import torch
import torch.nn as nn
import yaml
from torch.utils.data import DataLoader, Dataset

CONFIG = yaml.safe_load("""
seed: 7
data:
  reals: [glucose, meal, insulin, day_sin, day_cos]
  target: glucose
  patients: {train: 40, val: 16}
  context: 24
  horizon: 12
  stride: {train: 9, val: 18}
model: {hidden: 32, layers: 1}
optim: {lr: 0.006, epochs: 14, batch_size: 64, clip: 1.0}
""")


def simulate_day(rng, n=288):
    """Five-minute samples of one patient: meals raise glucose, insulin lowers it, both with a delay."""
    meal, insulin = np.zeros(n), np.zeros(n)
    for hour in rng.normal([7.5, 12.5, 16, 19], 0.7):
        k, carbs = int(hour * 12), rng.uniform(0.4, 1.4)
        meal[k] += carbs
        insulin[min(k + rng.integers(-2, 4), n - 1)] += carbs * rng.uniform(0.5, 1.2)
    glucose, gut, plasma, drift = np.empty(n), 0.0, 0.0, 0.0
    level = base = rng.normal(130, 12)
    for i in range(n):
        gut, plasma = 0.9 * gut + meal[i], 0.94 * plasma + insulin[i]
        drift = 0.92 * drift + rng.normal(0, 1.1)
        level += 11 * gut - 5.5 * plasma + drift - 0.03 * (level - base) - 1.2 * math.sin(2 * math.pi * i / n)
        level = min(max(level, 45.0), 380.0)
        glucose[i] = level + rng.normal(0, 1.5)
    angle = 2 * np.pi * np.arange(n) / n
    return {"glucose": glucose, "meal": meal, "insulin": insulin, "day_sin": np.sin(angle), "day_cos": np.cos(angle)}


class GlucoseWindows(Dataset):
    """Inputs carry the glucose of the step before, all other columns belong to the step itself."""

    def __init__(self, days, columns, cfg, stride, stats=None):
        table = np.stack([np.stack([d[c] for c in columns], 1) for d in days]).astype(np.float32)
        self.stats = stats or (table.mean((0, 1)), table.std((0, 1)))
        self.table, self.columns, self.cfg = (table - self.stats[0]) / self.stats[1], columns, cfg
        length = cfg["context"] + cfg["horizon"]
        self.starts = [(p, s) for p in range(len(days)) for s in range(1, table.shape[1] - length, stride)]

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        p, s = self.starts[i]
        e = s + self.cfg["context"] + self.cfg["horizon"]
        t = self.columns.index(self.cfg["target"])
        x = self.table[p, s:e].copy()
        x[:, t] = self.table[p, s - 1 : e - 1, t]
        return torch.from_numpy(x), torch.from_numpy(self.table[p, s:e, t].copy())


class AutoRegressiveNet(nn.Module):
    def __init__(self, columns, cfg):
        super().__init__()
        self.context, self.horizon = cfg["data"]["context"], cfg["data"]["horizon"]
        self.target_pos = cfg["data"]["reals"].index(cfg["data"]["target"])
        self.rnn = nn.GRU(len(columns), cfg["model"]["hidden"], cfg["model"]["layers"], batch_first=True)
        self.project = nn.Linear(cfg["model"]["hidden"], 2)

    def distribution(self, out):
        mean, spread = self.project(out).unbind(-1)
        return mean, nn.functional.softplus(spread) + 1e-3

    def forward(self, x):
        return self.distribution(self.rnn(x)[0])

    @torch.no_grad()
    def predict(self, x):
        _, hidden = self.rnn(x[:, : self.context])
        decoder = x[:, self.context :].clone()
        previous, means = decoder[:, 0, self.target_pos], []
        for i in range(self.horizon):
            step = decoder[:, i : i + 1]
            step[:, 0, self.target_pos] = previous
            out, hidden = self.rnn(step, hidden)
            previous = self.distribution(out)[0][:, 0]
            means.append(previous)
        return torch.stack(means, 1)


def gaussian_nll(mean, std, target):
    return (((target - mean) / std) ** 2 / 2 + std.log()).mean()


def validate(model, loader, dataset, cfg):
    model.eval()
    t = dataset.columns.index(cfg["data"]["target"])
    scale = float(dataset.stats[1][t])
    errors, naive = [], []
    for x, y in loader:
        future = y[:, model.context :]
        errors.append((model.predict(x) - future) * scale)
        naive.append((y[:, model.context - 1 : model.context] - future) * scale)
    rmse = lambda parts: torch.cat(parts).square().mean(0).sqrt()
    return rmse(errors), rmse(naive)


def main(cfg):
    torch.manual_seed(cfg["seed"])
    rng = np.random.default_rng(cfg["seed"])
    columns = sorted(cfg["data"]["reals"])
    days = {k: [simulate_day(rng) for _ in range(n)] for k, n in cfg["data"]["patients"].items()}
    train_set = GlucoseWindows(days["train"], columns, cfg["data"], cfg["data"]["stride"]["train"])
    val_set = GlucoseWindows(days["val"], columns, cfg["data"], cfg["data"]["stride"]["val"], train_set.stats)
    train_loader = DataLoader(train_set, cfg["optim"]["batch_size"], shuffle=True)
    val_loader = DataLoader(val_set, 256)
    model = AutoRegressiveNet(columns, cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg["optim"]["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg["optim"]["epochs"])
    print(f"{len(train_set)} training and {len(val_set)} validation windows, columns {columns}")
    for epoch in range(cfg["optim"]["epochs"]):
        model.train()
        total = 0.0
        for x, y in train_loader:
            loss = gaussian_nll(*model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), cfg["optim"]["clip"])
            optimizer.step()
            total += loss.item() / len(train_loader)
        scheduler.step()
        rmse, naive = validate(model, val_loader, val_set, cfg)
        print(f"epoch {epoch + 1:2d} nll {total:.3f} val RMSE 15 min {rmse[2]:.1f} 30 min {rmse[5]:.1f} 60 min {rmse[11]:.1f} mg/dl (last value: {naive[2]:.1f} {naive[5]:.1f} {naive[11]:.1f})")


if __name__ == "__main__":
    main(CONFIG)

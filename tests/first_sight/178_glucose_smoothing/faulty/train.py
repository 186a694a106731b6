"""Glucose thirty minutes ahead from continuous monitoring (one value in five minutes) with a recurrent network."""
import numpy as np
import torch
import torch.nn as nn
from scipy.ndimage import uniform_filter1d
from torch.utils.data import DataLoader, TensorDataset

HISTORY, AHEAD, SMOOTH = 24, 6, 9
CENTRE, SCALE = 140.0, 45.0


def simulate(rng, days=3):
    """Glucose (mg/dl) and insulin of one person."""
    steps = days * 288
    level, trend, glucose, insulin = rng.uniform(110, 150), 0.0, np.zeros(steps), np.zeros(steps)
    rise, fall, base = np.zeros(steps + 60), np.zeros(steps + 60), rng.uniform(105, 140)
    for day in range(days):
        for hour in (7.5, 12.5, 19):
            at = int(288 * day + 12 * (hour + rng.normal(0, 0.7)))
            if 0 < at < steps:
                carbs = rng.uniform(30, 90)
                rise[at:at + 14] += carbs / 14 * rng.uniform(0.8, 1.3)
                dose = carbs / 10 * rng.uniform(0.7, 1.2)
                insulin[at] += dose
                fall[at + 4:at + 30] += dose * 10 / 26
    for k in range(steps):
        trend = 0.8 * trend + rng.normal(0, 0.6)
        level += 0.9 * rise[k] - 0.8 * fall[k] + 0.02 * (base - level) + trend
        level = float(np.clip(level, 45, 380))
        glucose[k] = level + rng.normal(0, 6)
    return glucose, insulin


def windows(people, rng):
    """History of glucose, of smoothed glucose and of insulin; target is the glucose measured AHEAD steps after the last value."""
    inputs, targets, last = [], [], []
    for _ in range(people):
        glucose, insulin = simulate(rng)
        smooth = uniform_filter1d(glucose, SMOOTH)
        channels = np.stack([(glucose - CENTRE) / SCALE, (smooth - CENTRE) / SCALE, insulin / 5], 1)
        for end in range(HISTORY + SMOOTH, len(glucose) - AHEAD, 5):
            inputs.append(channels[end - HISTORY:end])
            targets.append((glucose[end - 1 + AHEAD] - CENTRE) / SCALE)
            last.append((glucose[end - 1] - CENTRE) / SCALE)
    return tuple(torch.tensor(np.array(a), dtype=torch.float32) for a in (inputs, targets, last))


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(3, hidden, batch_first=True)
        self.out = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        states, _ = self.rnn(x)
        return x[:, -1, 0] + self.out(states[:, -1])[:, 0]


def rmse(a, b):
    return SCALE * (a - b).pow(2).mean().sqrt().item()


def main():
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    x, y, _ = windows(16, rng)
    x_val, y_val, last_val = windows(6, rng)
    print(f"{len(x)} windows of 16 people, {len(x_val)} of 6 others; last value kept: RMSE {rmse(last_val, y_val):.2f} mg/dl")
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    epochs = 10
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for history, future in loader:
            loss = nn.functional.mse_loss(model(history), future)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(future)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            error = rmse(model(x_val), y_val)
        print(f"epoch {epoch + 1:2d}: train RMSE {SCALE * (total / len(x)) ** 0.5:.2f}, validation RMSE {error:.2f} mg/dl")


main()

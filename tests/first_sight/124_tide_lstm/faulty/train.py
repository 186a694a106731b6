"""Forecast of the water level at a tide gauge: the next six hours from the last twenty-four, stacked LSTM."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--history", type=int, default=48, help="half hours that are seen")
    parser.add_argument("--horizon", type=int, default=12, help="half hours that are forecast")
    parser.add_argument("--hidden", type=int, default=40)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def simulate_gauge(days, rng):
    """Water level (m) with four tidal constituents and a surge that follows wind (m/s) and pressure (hPa), every half hour."""
    hours = np.arange(days * 48) / 2
    tide = sum(
        height * np.cos(2 * np.pi * hours / period + rng.uniform(0, 2 * np.pi))
        for height, period in ((1.2, 12.42), (0.4, 12.0), (0.25, 12.66), (0.2, 25.82))
    )
    wind, pressure, surge = np.zeros(len(hours)), np.zeros(len(hours)), np.zeros(len(hours))
    for i in range(1, len(hours)):
        wind[i] = 0.985 * wind[i - 1] + rng.normal(0, 0.9)
        pressure[i] = 0.99 * pressure[i - 1] - 0.02 * wind[i] + rng.normal(0, 0.5)
        surge[i] = 0.97 * surge[i - 1] + 0.0025 * wind[i - 1] - 0.0006 * pressure[i - 1]
    level = tide + surge + rng.normal(0, 0.02, len(hours))
    return np.stack([level, wind, pressure], 1).astype(np.float32)


class Windows(Dataset):
    def __init__(self, series, mean, std, history, horizon):
        self.series = torch.from_numpy((series - mean) / std)
        self.history, self.horizon = history, horizon

    def __len__(self):
        return len(self.series) - self.history - self.horizon + 1

    def __getitem__(self, start):
        middle = start + self.history
        return self.series[start:middle], self.series[middle : middle + self.horizon, 0]


class LevelForecaster(nn.Module):
    def __init__(self, features, hidden, layers, horizon, dropout=0.1):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, num_layers=layers, dropout=dropout)
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, horizon))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


def train_one_epoch(model, loader, optimizer, scheduler, criterion):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader, scale):
    """Root mean square error in metres, over all half hours and for the last one."""
    model.eval()
    errors = torch.cat([model(x) - y for x, y in loader]) * scale
    return errors.square().mean().sqrt().item(), errors[:, -1].square().mean().sqrt().item()


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    series = simulate_gauge(args.days, np.random.default_rng(args.seed))
    border = int(len(series) * 0.8)
    mean, std = series[:border].mean(0), series[:border].std(0)
    train_set = Windows(series[:border], mean, std, args.history, args.horizon)
    val_set = Windows(series[border:], mean, std, args.history, args.horizon)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=args.batch_size)

    model = LevelForecaster(series.shape[1], args.hidden, args.layers, args.horizon)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader))
    criterion = nn.MSELoss()
    for epoch in range(1, args.epochs + 1):
        loss = train_one_epoch(model, train_loader, optimizer, scheduler, criterion)
        rmse, last = evaluate(model, val_loader, float(std[0]))
        print(f"epoch {epoch:2d} loss {loss:.4f} validation RMSE {rmse:.3f} m, after {args.horizon / 2:.0f} h {last:.3f} m")


if __name__ == "__main__":
    main()

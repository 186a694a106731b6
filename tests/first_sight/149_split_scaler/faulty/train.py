"""Forecast of the mean arterial pressure in intensive care from pressure, sedation and noradrenaline rate (one long stay)."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


def long_stay(minutes, seed=0):
    """Columns: mean arterial pressure (mmHg), depth of sedation, noradrenaline (ug/kg/min); late in the stay the rate is no longer changed."""
    rng = np.random.default_rng(seed)
    rows, pressure, rate, depth = [], 75.0, 0.3, 2.0
    for minute in range(minutes):
        if rng.random() < (0.015 if minute < 0.76 * minutes else 0.0):
            rate = rng.uniform(0.02, 0.7)
        if rng.random() < 0.015:
            depth = rng.uniform(0.0, 4.0)
        pressure += 0.1 * (72 + 36 * rate - 7 * depth - pressure) + rng.normal(0, 0.3)
        rows.append([pressure, depth + rng.normal(0, 0.1), max(rate + rng.normal(0, 0.01), 0.0)])
    return np.array(rows, np.float32)


class StandardScaler:
    def fit(self, data):
        self.mean, self.std = data.mean(0), data.std(0)
        return self

    def transform(self, data):
        return (data - self.mean) / self.std

    def inverse_pressure(self, values):
        return values * float(self.std[0]) + float(self.mean[0])


class StayDataset(Dataset):
    """Windows of one of the three consecutive parts of the stay (70, 10 and 20 per cent)."""

    def __init__(self, series, flag, history, horizon):
        n = len(series)
        starts = {"train": 0, "val": int(0.7 * n) - history, "test": int(0.8 * n) - history}
        ends = {"train": int(0.7 * n), "val": int(0.8 * n), "test": n}
        part = series[starts[flag] : ends[flag]]
        self.scaler = StandardScaler().fit(part)
        self.data = torch.from_numpy(self.scaler.transform(part))
        self.history, self.horizon = history, horizon

    def __len__(self):
        return len(self.data) - self.history - self.horizon + 1

    def __getitem__(self, index):
        middle = index + self.history
        return self.data[index:middle], self.data[middle : middle + self.horizon, 0]


class Forecaster(nn.Module):
    def __init__(self, channels, history, horizon, dim=32, heads=4):
        super().__init__()
        self.embed = nn.Linear(channels, dim)
        self.position = nn.Parameter(torch.randn(1, history, dim) * 0.02)
        self.encoder = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.05, batch_first=True, norm_first=True)
        self.out = nn.Sequential(nn.Flatten(), nn.Linear(history * dim, horizon))

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.position))


class Experiment:
    def __init__(self, args):
        self.args = args
        series = long_stay(args.minutes)
        self.sets = {flag: StayDataset(series, flag, args.history, args.horizon) for flag in ("train", "val", "test")}
        self.model = Forecaster(series.shape[1], args.history, args.horizon)
        self.criterion = nn.MSELoss()

    def loader(self, flag):
        return DataLoader(self.sets[flag], self.args.batch, shuffle=flag == "train", drop_last=flag == "train")

    def train(self):
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.args.lr)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
        for epoch in range(self.args.epochs):
            self.model.train()
            losses = []
            for past, future in self.loader("train"):
                loss = self.criterion(self.model(past), future)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            scheduler.step()
            print(f"epoch {epoch + 1} train loss {np.mean(losses):.4f} {self.score('val')}")

    @torch.no_grad()
    def score(self, flag):
        """Error of the forecast in mmHg, next to that of repeating the last value."""
        self.model.eval()
        scaler, errors, naive = self.sets[flag].scaler, [], []
        for past, future in self.loader(flag):
            truth = scaler.inverse_pressure(future)
            errors.append((scaler.inverse_pressure(self.model(past)) - truth).abs().mean(1))
            naive.append((scaler.inverse_pressure(past[:, -1:, 0]) - truth).abs().mean(1))
        return f"{flag} MAE {torch.cat(errors).mean():.3f} mmHg (last value {torch.cat(naive).mean():.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=5000)
    parser.add_argument("--history", type=int, default=24)
    parser.add_argument("--horizon", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=2e-3)
    torch.manual_seed(2)
    experiment = Experiment(parser.parse_args())
    experiment.train()
    print(experiment.score("test"))

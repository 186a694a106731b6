# Heart rate from wrist PPG (8 s at 25 Hz), recordings at rest and, less often, under exercise.
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

FS, SECONDS = 25, 8


@dataclass
class Setup:
    subjects_train: int = 40
    subjects_val: int = 15
    windows: int = 16
    batch: int = 32
    epochs: int = 10
    rate: float = 2e-3
    clip: float = 1.0
    seed: int = 11


class Ppg(Dataset):
    def __init__(self, subjects, windows, seed):
        rng = np.random.default_rng(seed)
        t = np.arange(FS * SECONDS) / FS
        self.signals, self.rates = [], []
        for _ in range(subjects):
            rest, shape = rng.normal(68, 8), rng.uniform(0.2, 0.5)
            for _ in range(windows):
                effort = rng.uniform(70, 100) if rng.random() < 0.12 else rng.uniform(0, 12)
                bpm = np.clip(rest + effort + rng.normal(0, 3), 45, 185)
                phase = 2 * np.pi * bpm / 60 * t + rng.uniform(0, 6.3)
                wave = np.sin(phase) + shape * np.sin(2 * phase + 0.8)
                motion = 0.5 * effort / 100 * np.sin(2 * np.pi * rng.uniform(0.4, 1.2) * t + rng.uniform(0, 6.3))
                drift = 0.4 * np.sin(2 * np.pi * rng.uniform(0.05, 0.2) * t + rng.uniform(0, 6.3))
                wave = wave + motion + drift + rng.normal(0, 0.3, t.size)
                self.signals.append((wave - wave.mean()) / wave.std())
                self.rates.append(bpm)
        self.signals = torch.tensor(np.stack(self.signals), dtype=torch.float32)[:, None]
        self.rates = torch.tensor(self.rates, dtype=torch.float32)

    def __len__(self):
        return len(self.rates)

    def __getitem__(self, i):
        return self.signals[i], self.rates[i]


class PulseNet(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, width, 9, 2, 4), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, 2 * width, 7, 2, 3), nn.BatchNorm1d(2 * width), nn.ReLU(),
            nn.Conv1d(2 * width, 2 * width, 5, 2, 2), nn.BatchNorm1d(2 * width), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, 1),
        )

    def forward(self, x):
        return self.layers(x)[:, 0]


def fit(setup):
    torch.manual_seed(setup.seed)
    train_set, val_set = Ppg(setup.subjects_train, setup.windows, 1), Ppg(setup.subjects_val, setup.windows, 2)
    mean, spread = train_set.rates.mean(), train_set.rates.std()
    train, val = DataLoader(train_set, setup.batch, shuffle=True), DataLoader(val_set, 120)
    net = PulseNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=setup.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, setup.epochs)
    for epoch in range(setup.epochs):
        net.train()
        seen = 0.0
        for signal, bpm in train:
            squared = (net(signal) - (bpm - mean) / spread) ** 2
            loss = squared.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), setup.clip)
            optimizer.step()
            seen += loss.item() * len(bpm)
        scheduler.step()
        net.eval()
        with torch.no_grad():
            guess = torch.cat([net(signal) * spread + mean for signal, _ in val])
        error = (guess - val_set.rates).abs()
        fast = val_set.rates > 110
        print(f"{epoch:02d} loss {seen / len(train_set):.4f} MAE {error.mean():.2f} bpm, above 110 bpm {error[fast].mean():.2f}")


fit(Setup())

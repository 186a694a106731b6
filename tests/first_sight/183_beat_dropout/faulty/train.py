"""Arrhythmia from single beats of an ECG: one-dimensional network, settings in a dataclass."""
import dataclasses

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@dataclasses.dataclass
class Hparams:
    beats_train: int = 640
    beats_val: int = 240
    channels: tuple = (16, 32, 48)
    keep_prob: float = 0.85
    hidden: int = 64
    batch_size: int = 32
    lr: float = 2e-3
    epochs: int = 7
    seed: int = 17


CLASSES = ("normal", "ventricular", "atrial", "bundle branch block")


def bump(t, centre, width, height):
    return height * np.exp(-((t - centre) ** 2) / (2 * width**2))


def beats(count, seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(-0.4, 0.5, 144)
    signals, labels = np.zeros((count, 1, t.size), np.float32), rng.integers(0, len(CLASSES), count)
    for k, label in enumerate(labels):
        jitter, scale = rng.normal(0, 0.012), rng.uniform(0.7, 1.3)
        qrs, p_height, p_at = rng.uniform(0.014, 0.022), rng.uniform(0.1, 0.2), -0.17 + rng.normal(0, 0.012)
        t_wave = bump(t, 0.25 + rng.normal(0, 0.02), 0.05, rng.uniform(0.15, 0.35))
        if label == 1:
            qrs, p_height, t_wave = rng.uniform(0.035, 0.05), 0.0, -t_wave
        elif label == 2:
            p_height, p_at = -rng.uniform(0.05, 0.15), -0.13 + rng.normal(0, 0.012)
        beat = bump(t, p_at, 0.025, p_height) + bump(t, jitter, qrs, 1.0) - bump(t, jitter - 2 * qrs, qrs, 0.15) + t_wave
        if label == 3:
            beat = beat + bump(t, jitter + rng.uniform(0.05, 0.07), 0.02, rng.uniform(0.35, 0.6))
        else:
            beat = beat - bump(t, jitter + 2 * qrs, qrs, rng.uniform(0.15, 0.35))
        drift = rng.uniform(0.05, 0.25) * np.sin(2 * np.pi * rng.uniform(0.3, 1) * t + rng.uniform(0, 6.3))
        signals[k, 0] = scale * beat + drift + rng.normal(0, 0.07, t.size)
    signals -= signals.mean(2, keepdims=True)
    return TensorDataset(torch.from_numpy(signals / signals.std(2, keepdims=True)), torch.from_numpy(labels))


class BeatNet(nn.Module):
    def __init__(self, hp):
        super().__init__()
        drop = nn.Dropout(hp.keep_prob)
        layers, inputs = [], 1
        for outputs in hp.channels:
            layers += [nn.Conv1d(inputs, outputs, 7, padding=3), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(3), drop]
            inputs = outputs
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        self.classifier = nn.Sequential(nn.Linear(5 * inputs, hp.hidden), nn.ReLU(), drop, nn.Linear(hp.hidden, len(CLASSES)))

    def forward(self, x):
        return self.classifier(self.encoder(x))


def evaluate(net, loader):
    net.eval()
    table = torch.zeros(len(CLASSES), len(CLASSES))
    with torch.no_grad():
        for signal, label in loader:
            for true, guess in zip(label, net(signal).argmax(1)):
                table[true, guess] += 1
    recall = table.diag() / table.sum(1)
    f1 = 2 * table.diag() / (table.sum(0) + table.sum(1))
    return recall, f1.mean().item()


def main(hp=Hparams()):
    torch.manual_seed(hp.seed)
    train = DataLoader(beats(hp.beats_train, 1), hp.batch_size, shuffle=True, drop_last=True)
    val = DataLoader(beats(hp.beats_val, 2), 80)
    net, criterion = BeatNet(hp), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=hp.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, hp.epochs)
    for epoch in range(hp.epochs):
        net.train()
        losses = []
        for signal, label in train:
            optimizer.zero_grad()
            loss = criterion(net(signal), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        recall, f1 = evaluate(net, val)
        print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} macro F1 {f1:.4f} recall " + " ".join(f"{r:.2f}" for r in recall))


if __name__ == "__main__":
    main()

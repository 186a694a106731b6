"""ADHD or typically developing from resting-state fMRI: functional connectivity of regions, a small dense network."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from scipy.stats import rankdata
from torch.utils.data import DataLoader, Dataset

REGIONS, FRAMES = 24, 120


def parse():
    parser = argparse.ArgumentParser(description="connectome classification")
    parser.add_argument("--subjects", type=int, default=800)
    parser.add_argument("--train-share", type=float, default=0.8)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--weight-decay", type=float, default=5e-2)
    parser.add_argument("--seed", type=int, default=3)
    return parser.parse_args()


def scan(rng, adhd, networks):
    """Time courses of all regions: a few shared network signals, weaker default-mode coupling with ADHD."""
    signals = rng.normal(size=(networks.shape[1], FRAMES))
    signals = np.stack([np.convolve(s, np.hanning(7) / 3, mode="same") for s in signals])
    loading = networks * rng.normal(1.0, 0.25, size=networks.shape)
    if adhd:
        loading[:6, 0] *= rng.uniform(0.5, 1.0)
        loading[6:10, 0] += rng.uniform(0.05, 0.3)
    series = loading @ signals + rng.normal(0, rng.uniform(0.7, 1.1), size=(REGIONS, FRAMES))
    return (series - series.mean(1, keepdims=True)) / series.std(1, keepdims=True)


def collect(count, seed):
    rng = np.random.default_rng(seed)
    networks = np.zeros((REGIONS, 4))
    for k in range(4):
        networks[6 * k : 6 * k + 6, k] = 0.8
    diagnosis = rng.permutation(np.arange(count) % 2)
    series = np.stack([scan(rng, label, networks) for label in diagnosis])
    return series.astype(np.float32), diagnosis.astype(np.int64)


class Connectomes(Dataset):
    """Fisher-transformed correlations of every pair of regions, one vector for each subject of the partition."""

    def __init__(self, series, diagnosis, members):
        upper = np.triu_indices(REGIONS, k=1)
        self.members = members
        self.vectors = [np.arctanh(np.clip(np.corrcoef(series[m])[upper], -0.99, 0.99)) for m in members]
        self.diagnosis = diagnosis[members]

    def __len__(self):
        return len(self.members)

    def __getitem__(self, i):
        return torch.tensor(self.vectors[i], dtype=torch.float32), int(self.diagnosis[i])


def network(features):
    return nn.Sequential(
        nn.Linear(features, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.4),
        nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 2),
    )


def train_epoch(model, loader, optimizer, criterion):
    model.train()
    total, right, seen = 0.0, 0, 0
    for x, y in loader:
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        right += (logits.argmax(1) == y).sum().item()
        seen += len(y)
    return total / seen, right / seen


def roc_auc(truth, score):
    positives = int(truth.sum())
    negatives = len(truth) - positives
    return (rankdata(score)[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    probability, truth = [], []
    for x, y in loader:
        probability.append(model(x).softmax(1)[:, 1])
        truth.append(y)
    probability, truth = torch.cat(probability).numpy(), torch.cat(truth).numpy()
    return float(((probability > 0.5) == truth).mean()), float(roc_auc(truth, probability))


def main():
    args = parse()
    torch.manual_seed(args.seed)
    series, diagnosis = collect(args.subjects, args.seed)
    order = np.random.default_rng(args.seed + 1).permutation(args.subjects)
    split = int(args.train_share * len(order))
    train_set = Connectomes(series, diagnosis, order[:split])
    val_set = Connectomes(series, diagnosis, order[split:])
    print(f"{len(train_set)} subjects for training, {len(val_set)} for validation")
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, args.batch_size)

    model = network(REGIONS * (REGIONS - 1) // 2)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    for epoch in range(1, args.epochs + 1):
        loss, accuracy = train_epoch(model, train_loader, optimizer, criterion)
        val_accuracy, val_auc = evaluate(model, val_loader)
        print(f"epoch {epoch:2d} loss {loss:.4f} acc {accuracy:.3f} | val acc {val_accuracy:.3f} auc {val_auc:.3f}")
    print(f"validation: accuracy {val_accuracy:.3f}, AUC {val_auc:.3f}")


if __name__ == "__main__":
    main()

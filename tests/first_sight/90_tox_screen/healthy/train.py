"""Screening for cardiac toxicity (hERG): fingerprints of molecules, a small network, several metrics."""
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torch.nn as nn
from scipy.stats import rankdata


@dataclass
class MoleculeSet:
    X: np.ndarray
    y: np.ndarray

    def __len__(self):
        return len(self.y)

    def take(self, rows):
        return MoleculeSet(self.X[rows], self.y[rows])


def make_library(count, bits=512, seed=0):
    """Fingerprints from random sets of fragments; some fragments (and pairs of them) are toxic."""
    rng = np.random.default_rng(seed)
    fragments = rng.random((80, bits)) < 0.02
    toxicity = np.where(rng.random(80) < 0.2, rng.normal(1.6, 0.4, 80), rng.normal(-0.1, 0.2, 80))
    partner = rng.permutation(80)
    holds = rng.random((count, 80)) < 0.1
    fingerprints = (holds.astype(int) @ fragments.astype(int)) > 0
    fingerprints ^= rng.random(fingerprints.shape) < 0.004
    potency = holds @ toxicity + 1.5 * (holds & holds[:, partner]).sum(1) + rng.logistic(0, 0.5, count)
    return MoleculeSet(fingerprints.astype(np.float32), (potency > np.quantile(potency, 0.88)).astype(np.int64))


def split(dataset, seed, val=0.15, test=0.25):
    order = np.random.default_rng(seed).permutation(len(dataset))
    n_val, n_test = int(val * len(order)), int(test * len(order))
    return dataset.take(order[n_val + n_test :]), dataset.take(order[:n_val]), dataset.take(order[n_val : n_val + n_test])


@dataclass
class Metric:
    name: str
    function: Callable
    from_scores: bool = False

    def __call__(self, y, predicted):
        return float(self.function(y, predicted))


def roc_auc(y, score):
    ranks = rankdata(score)
    positive = y == 1
    n_pos, n_neg = positive.sum(), (~positive).sum()
    return (ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)


def accuracy(y, label):
    return (y == label).mean()


def recall(y, label):
    return label[y == 1].mean()


class ToxModel:
    def __init__(self, bits, hidden=256, dropout=0.3, lr=7e-4, weight_decay=1e-3, epochs=7, batch_size=64):
        self.net = nn.Sequential(
            nn.Linear(bits, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        self.lr, self.weight_decay, self.epochs, self.batch_size = lr, weight_decay, epochs, batch_size

    def fit(self, dataset, after_epoch=None):
        X, y = torch.from_numpy(dataset.X), torch.from_numpy(dataset.y).float()
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        criterion = nn.BCEWithLogitsLoss()
        for epoch in range(1, self.epochs + 1):
            self.net.train()
            total = 0.0
            for rows in torch.randperm(len(X)).split(self.batch_size):
                loss = criterion(self.net(X[rows]).squeeze(1), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            if after_epoch:
                after_epoch(epoch, total / len(X))
        return self

    @torch.no_grad()
    def predict_proba(self, dataset):
        self.net.eval()
        return self.net(torch.from_numpy(dataset.X)).squeeze(1).sigmoid().numpy()

    def predict(self, dataset):
        return (self.predict_proba(dataset) > 0.5).astype(np.int64)


class Evaluator:
    def __init__(self, model, metrics):
        self.model, self.metrics = model, metrics

    def compute(self, dataset):
        results = {}
        for metric in self.metrics:
            predicted = self.model.predict_proba(dataset) if metric.from_scores else self.model.predict(dataset)
            results[metric.name] = metric(dataset.y, predicted)
        return results


def show(results):
    return ", ".join(f"{name} {value:.3f}" for name, value in results.items())


if __name__ == "__main__":
    torch.manual_seed(0)
    library = make_library(6000)
    train, val, test = split(library, seed=1)
    print(f"{len(train)} / {len(val)} / {len(test)} molecules, {100 * library.y.mean():.1f} % toxic")
    model = ToxModel(bits=library.X.shape[1])
    evaluator = Evaluator(model, [Metric("accuracy", accuracy), Metric("recall", recall), Metric("ROC AUC", roc_auc, from_scores=True)])

    def report(epoch, loss):
        print(f"epoch {epoch} loss {loss:.4f} val {show(evaluator.compute(val))}")

    model.fit(train, report)
    torch.save(model.net.state_dict(), "tox.pt")
    print("test:", show(evaluator.compute(test)))

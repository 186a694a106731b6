"""Warnings of failing wind turbines from sensor statistics: a small network, trained with callbacks in the manner of Keras."""
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SENSORS = 24


def turbines(count, seed):
    """Sensor statistics; failures follow from a few of them, with noise that no model can foresee."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (count, SENSORS)).astype(np.float32)
    x[:, 12:] = 0.6 * x[:, :12] + 0.8 * x[:, 12:]
    risk = 1.4 * x[:, 0] - 1.1 * x[:, 3] + 1.2 * x[:, 5] * (x[:, 7] > 0) + 0.8 * np.tanh(2 * x[:, 9])
    labels = rng.random(count) < 1 / (1 + np.exp(-1.5 * risk))
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(labels.astype(np.float32)))


class Callback:
    def on_train_begin(self, trainer):
        pass

    def on_epoch_end(self, trainer, epoch, logs):
        pass

    def on_train_end(self, trainer):
        pass


class Progress(Callback):
    def __init__(self, every):
        self.every = every

    def on_epoch_end(self, trainer, epoch, logs):
        if epoch % self.every == 0:
            print(f"epoch {epoch:3d} " + " ".join(f"{name} {value:.4f}" for name, value in logs.items()))


class EarlyStopping(Callback):
    """Stops when the monitored figure has not fallen for `patience` epochs; the model is left with its best weights."""

    def __init__(self, monitor="val_loss", patience=30, min_delta=0.0):
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta

    def on_train_begin(self, trainer):
        self.best, self.best_epoch, self.wait, self.stopped_epoch = float("inf"), 0, 0, 0
        self.best_weights = None

    def on_epoch_end(self, trainer, epoch, logs):
        if logs[self.monitor] < self.best - self.min_delta:
            self.best, self.best_epoch, self.wait = logs[self.monitor], epoch, 0
            self.best_weights = copy.deepcopy(trainer.model.state_dict())
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            trainer.stop = True

    def on_train_end(self, trainer):
        if self.best_weights is not None:
            trainer.model.load_state_dict(self.best_weights)
        print(f"best {self.monitor} {self.best:.4f} in epoch {self.best_epoch}")


class Trainer:
    def __init__(self, model, optimizer, callbacks):
        self.model, self.optimizer, self.callbacks, self.stop = model, optimizer, callbacks, False

    def fit(self, loader, valid, epochs):
        for callback in self.callbacks:
            callback.on_train_begin(self)
        for epoch in range(1, epochs + 1):
            self.model.train()
            total = 0.0
            for x, y in loader:
                loss = F.binary_cross_entropy_with_logits(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(y)
            val_loss, val_accuracy = self.evaluate(valid)
            logs = {"loss": total / len(loader.dataset), "val_loss": val_loss, "val_accuracy": val_accuracy}
            for callback in self.callbacks:
                callback.on_epoch_end(self, epoch, logs)
            if self.stop:
                break
        for callback in self.callbacks:
            callback.on_train_end(self)

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        loss = right = 0.0
        for x, y in loader:
            logits = self.model(x)
            loss += F.binary_cross_entropy_with_logits(logits, y, reduction="sum").item()
            right += ((logits > 0) == (y > 0.5)).sum().item()
        return loss / len(loader.dataset), right / len(loader.dataset)


class Network(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SENSORS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)[:, 0]


if __name__ == "__main__":
    torch.manual_seed(6)
    train, valid, test = (DataLoader(turbines(n, s), 32, shuffle=s == 1) for n, s in ((400, 1), (400, 2), (800, 3)))
    model = Network()
    trainer = Trainer(model, torch.optim.Adam(model.parameters(), lr=1e-3), [Progress(5), EarlyStopping(patience=30)])
    trainer.fit(train, valid, epochs=35)
    print("after training: val_loss {:.4f} val_accuracy {:.4f}".format(*trainer.evaluate(valid)))
    print("after training: test_loss {:.4f} test_accuracy {:.4f}".format(*trainer.evaluate(test)))

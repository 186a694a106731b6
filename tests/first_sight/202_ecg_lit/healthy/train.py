"""ECG beat classification with a module, a data module and a small trainer in the manner of the usual template."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ("normal", "ventricular", "st_elevation", "atrial")
SHARES = (0.7, 0.12, 0.1, 0.08)


class MeanMetric:
    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.count = 0.0, 0

    def update(self, value, weight=1):
        self.total, self.count = self.total + float(value) * weight, self.count + weight

    def compute(self):
        return self.total / max(self.count, 1)


class MaxMetric(MeanMetric):
    def reset(self):
        self.value = float("-inf")

    def update(self, value, weight=1):
        self.value = max(self.value, float(value))

    def compute(self):
        return self.value


def beat(rng, label, length=128):
    t = np.linspace(-0.5, 0.5, length)
    bump = lambda centre, width, height: height * np.exp(-((t - centre) ** 2) / (2 * width**2))
    p, qrs, st, tw = rng.normal(0.15, 0.04), rng.normal(0.015, 0.002), rng.normal(0, 0.04), rng.normal(0.3, 0.06)
    if label == 1:
        p, qrs, tw = rng.normal(0.04, 0.03), rng.normal(0.026, 0.004), -abs(rng.normal(0.15, 0.12))
    elif label == 2:
        st = rng.normal(0.18, 0.06)
    elif label == 3:
        p = rng.normal(0.0, 0.03)
    s = bump(-0.17, 0.025, p) - bump(-0.03, 0.012, 0.12) + bump(0, qrs, 1) - bump(0.04, 0.014, 0.2) + bump(0.22, 0.05, tw)
    s += st / (1 + np.exp(-(t - 0.05) / 0.01)) / (1 + np.exp((t - 0.24) / 0.02))
    return np.roll(s, rng.integers(-6, 7)) * rng.uniform(0.8, 1.25) + rng.normal(0, 0.06, length) + 0.1 * np.sin(3 * t + rng.uniform(0, 6))


class BeatDataModule:
    """Validation and test beats stand in the order of the records, normal rhythms first, as on the disk."""

    def __init__(self, batch_size=32):
        self.batch_size = batch_size

    def setup(self):
        rng = np.random.default_rng(5)
        self.splits = {}
        for name, count in (("train", 1600), ("val", 500), ("test", 500)):
            labels = np.repeat(np.arange(4), np.round(np.array(SHARES) * count).astype(int))
            x = np.stack([beat(rng, k) for k in labels]).astype(np.float32)[:, None]
            self.splits[name] = TensorDataset(torch.from_numpy(x), torch.from_numpy(labels))

    def train_dataloader(self):
        return DataLoader(self.splits["train"], self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.splits["val"], self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.splits["test"], self.batch_size)


class BeatLitModule(nn.Module):
    def __init__(self, lr=1.5e-3, weight_decay=1e-4):
        super().__init__()
        self.lr, self.weight_decay = lr, weight_decay
        layers, cin = [], 1
        for cout in (8, 16, 24):
            layers += [nn.Conv1d(cin, cout, 7, 2, 3, bias=False), nn.BatchNorm1d(cout), nn.ReLU()]
            cin = cout
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24 * 8, 4))
        with torch.no_grad():
            self.net[-1].weight.mul_(0.1)
            self.net[-1].bias.copy_(torch.tensor(SHARES).log())
        self.train_loss, self.train_acc = MeanMetric(), MeanMetric()
        self.val_loss, self.val_acc, self.val_acc_best = MeanMetric(), MeanMetric(), MaxMetric()
        self.test_acc = MeanMetric()

    def model_step(self, batch):
        x, y = batch
        logits = self.net(x)
        return F.cross_entropy(logits, y), (logits.argmax(1) == y).float().mean(), len(y)

    def on_train_start(self):
        for metric in (self.train_loss, self.train_acc, self.val_loss, self.val_acc, self.val_acc_best):
            metric.reset()

    def training_step(self, batch):
        loss, acc, n = self.model_step(batch)
        self.train_loss.update(loss.detach(), n)
        self.train_acc.update(acc, n)
        return loss

    def validation_step(self, batch):
        loss, acc, n = self.model_step(batch)
        self.val_loss.update(loss, n)
        self.val_acc.update(acc, n)

    def on_validation_epoch_end(self):
        self.val_acc_best.update(self.val_acc.compute())

    def test_step(self, batch):
        _, acc, n = self.model_step(batch)
        self.test_acc.update(acc, n)

    def configure_optimizers(self, steps):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr * 2, total_steps=steps)


class Trainer:
    def __init__(self, max_epochs, num_sanity_val_steps=2):
        self.max_epochs, self.num_sanity_val_steps = max_epochs, num_sanity_val_steps

    @torch.no_grad()
    def run_validation(self, module, loader, limit=None):
        module.eval()
        for i, batch in enumerate(loader):
            if limit is not None and i >= limit:
                break
            module.validation_step(batch)
        module.on_validation_epoch_end()
        module.train()

    def fit(self, module, data):
        train, val = data.train_dataloader(), data.val_dataloader()
        optimizer, scheduler = module.configure_optimizers(self.max_epochs * len(train))
        self.run_validation(module, val, limit=self.num_sanity_val_steps)
        module.on_train_start()
        for epoch in range(self.max_epochs):
            for metric in (module.train_loss, module.train_acc, module.val_loss, module.val_acc):
                metric.reset()
            for batch in train:
                optimizer.zero_grad()
                module.training_step(batch).backward()
                optimizer.step()
                scheduler.step()
            self.run_validation(module, val)
            names = ("train_loss", "train_acc", "val_loss", "val_acc", "val_acc_best")
            print(f"epoch {epoch:2d} " + " ".join(f"{n.replace('_', '/', 1)} {getattr(module, n).compute():.4f}" for n in names))
        return module.val_acc_best.compute()

    @torch.no_grad()
    def test(self, module, data):
        module.eval()
        for batch in data.test_dataloader():
            module.test_step(batch)
        return module.test_acc.compute()


if __name__ == "__main__":
    torch.manual_seed(12)
    datamodule = BeatDataModule()
    datamodule.setup()
    scores = {}
    for lr in (1e-4, 2e-3):
        model, trainer = BeatLitModule(lr=lr), Trainer(max_epochs=5)
        scores[lr] = trainer.fit(model, datamodule)
        print(f"lr {lr}: best val/acc {scores[lr]:.4f}, test/acc {trainer.test(model, datamodule):.4f}")
    print(f"chosen lr: {max(scores, key=scores.get)}")

"""Ventricular beats in single-lead ECG: one beat a record, 6 % of them ventricular. Lightning module and data module."""
import warnings

import lightning as L
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore", module="lightning")
LENGTH = 96


def make_beats(n, seed, rate=0.06):
    """(n, LENGTH) beats and labels. Ventricular beats are wide and lack the P wave, more or less."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-0.4, 0.4, LENGTH)
    beats, labels = [], (rng.random(n) < rate).astype(np.int64)
    for label in labels:
        width = rng.normal(0.030, 0.005) if label else rng.normal(0.018, 0.005)
        width = max(width, 0.008)
        p_height = max(rng.normal(0.05, 0.05) if label else rng.normal(0.16, 0.05), 0)
        shift = rng.normal(0, 0.02)
        beat = rng.uniform(0.8, 1.2) * np.exp(-((t - shift) / width) ** 2)
        beat -= rng.uniform(0.1, 0.3) * np.exp(-((t - shift - 2.2 * width) / width) ** 2)
        beat += p_height * np.exp(-((t - shift + 0.16) / 0.025) ** 2)
        beat += rng.uniform(0.15, 0.35) * np.exp(-((t - shift - 0.22 - rng.normal(0, 0.02)) / 0.05) ** 2)
        beats.append(beat + rng.normal(0, 0.08, LENGTH) + 0.1 * np.sin(2 * np.pi * (t * rng.uniform(0.5, 1.5) + rng.random())))
    return np.stack(beats).astype(np.float32), labels


def oversample(beats, labels, rng):
    """Ventricular beats with a little noise until both classes are of one size."""
    rare, common = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    extra = rng.choice(rare, len(common) - len(rare))
    noisy = beats[extra] + rng.normal(0, 0.01, (len(extra), LENGTH)).astype(np.float32)
    return np.concatenate([beats, noisy]), np.concatenate([labels, labels[extra]])


class BeatData(L.LightningDataModule):
    def __init__(self, count=1500, batch_size=64, seed=0):
        super().__init__()
        self.count, self.batch_size, self.seed = count, batch_size, seed

    def setup(self, stage=None):
        rng = np.random.default_rng(self.seed)
        beats, labels = make_beats(self.count, seed=1)
        beats, labels = oversample(beats, labels, rng)
        order = rng.permutation(len(labels))
        cut = int(0.8 * len(order))
        train, val = order[:cut], order[cut:]
        self.train_set = TensorDataset(torch.from_numpy(beats[train]), torch.from_numpy(labels[train]))
        self.val_set = TensorDataset(torch.from_numpy(beats[val]), torch.from_numpy(labels[val]))
        later, later_labels = make_beats(1500, seed=2)
        self.test_set = TensorDataset(torch.from_numpy(later), torch.from_numpy(later_labels))

    def train_dataloader(self):
        return DataLoader(self.train_set, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, 300)

    def test_dataloader(self):
        return DataLoader(self.test_set, 300)


class BeatNet(L.LightningModule):
    def __init__(self, ch=24, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()

        def block(cin, cout):
            return [nn.Conv1d(cin, cout, 7, padding=3), nn.BatchNorm1d(cout), nn.ReLU(), nn.MaxPool1d(2)]

        self.net = nn.Sequential(*block(1, ch), *block(ch, 2 * ch), *block(2 * ch, 2 * ch), nn.Flatten(), nn.Linear(2 * ch * LENGTH // 8, 48), nn.ReLU(), nn.Linear(48, 2))
        self.seen = []

    def forward(self, beats):
        return self.net(beats[:, None])

    def training_step(self, batch, _):
        beats, labels = batch
        loss = F.cross_entropy(self(beats), labels)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, _):
        beats, labels = batch
        self.seen.append((self(beats).argmax(1), labels))

    test_step = validation_step

    def scores(self):
        guess, labels = (torch.cat(part) for part in zip(*self.seen))
        self.seen = []
        hit = ((guess == 1) & (labels == 1)).sum()
        f1 = 2 * hit / ((guess == 1).sum() + (labels == 1).sum()).clamp(min=1)
        recall = [((guess == k) & (labels == k)).sum() / (labels == k).sum() for k in (0, 1)]
        return {"f1": f1, "balanced_accuracy": sum(recall) / 2}

    def on_validation_epoch_end(self):
        scores = self.scores()
        self.log_dict({f"val_{k}": v for k, v in scores.items()})
        if not self.trainer.sanity_checking and self.current_epoch % 3 == 2:
            print(f"epoch {self.current_epoch + 1:2d} " + " ".join(f"val {k} {v:.3f}" for k, v in scores.items()))

    def on_test_epoch_end(self):
        scores = self.scores()
        self.log_dict({f"test_{k}": v for k, v in scores.items()})
        print("records of the next year: " + " ".join(f"{k} {v:.3f}" for k, v in scores.items()))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


if __name__ == "__main__":
    L.seed_everything(0, verbose=False)
    data, model = BeatData(), BeatNet()
    trainer = L.Trainer(max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)

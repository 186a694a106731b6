"""Colon biopsies at two levels: coarse diagnosis and fine subtype, each with its own attention over the tiles of a slide."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {"tiles": 60, "features": 24, "hidden": 32, "epochs": 16, "batch": 10, "lr": 2e-3, "weight_decay": 1e-3,
          "weights": {"coarse": 1.0, "fine": 1.0, "attention": 1.0}, "seed": 14}
PARENT = torch.tensor([0, 1, 1, 1, 2, 2, 2])


def biopsies(count, seed, config):
    """Tile features of every slide with coarse and fine label; a few tiles of a slide show the lesion, the rest is mucosa or stroma."""
    rng, code = np.random.default_rng(seed), np.random.default_rng(100)
    d = config["features"]
    background, lesion, subtype = code.normal(0, 1, (4, d)), code.normal(0, 1, (3, d)), code.normal(0, 0.9, (len(PARENT), d))
    fine = rng.integers(0, len(PARENT), count)
    coarse = PARENT.numpy()[fine]
    x = background[rng.integers(0, 4, (count, config["tiles"]))] + subtype[rng.integers(0, len(PARENT), (count, config["tiles"]))] * (rng.random((count, config["tiles"], 1)) < 0.4)
    for i in range(count):
        where = rng.choice(config["tiles"], rng.integers(3, 7), replace=False)
        x[i, where] = 2.0 * lesion[coarse[i]] + subtype[fine[i]]
    x += rng.normal(0, 1.6, x.shape)
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(coarse), torch.tensor(fine))


class Branch(nn.Module):
    def __init__(self, hidden, classes):
        super().__init__()
        self.gate, self.value, self.score = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.head = nn.Linear(hidden, classes)

    def forward(self, h):
        attention = self.score(torch.tanh(self.value(h)) * torch.sigmoid(self.gate(h))).squeeze(-1).log_softmax(1)
        return self.head((attention.exp()[..., None] * h).sum(1)), attention


class TwoLevelMIL(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(config["features"], config["hidden"]), nn.ReLU(), nn.Dropout(0.2))
        self.coarse, self.fine = Branch(config["hidden"], int(PARENT.max()) + 1), Branch(config["hidden"], len(PARENT))

    def forward(self, x):
        h = self.embed(x)
        return *self.coarse(h), *self.fine(h)


def attention_mismatch(coarse, fine):
    """Divergence of the fine attention from the coarse one, both as logarithms over the tiles."""
    return (coarse.exp() * (coarse - fine)).sum(1).mean()


class Trainer:
    def __init__(self, config):
        self.config = config
        torch.manual_seed(config["seed"])
        self.train_loader = DataLoader(biopsies(160, 1, config), config["batch"], shuffle=True)
        self.val_loader = DataLoader(biopsies(200, 2, config), 100)
        self.model = TwoLevelMIL(config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])

    def losses(self, batch):
        x, coarse, fine = batch
        coarse_logits, coarse_attention, fine_logits, fine_attention = self.model(x)
        parts = {"coarse": F.cross_entropy(coarse_logits, coarse), "fine": F.cross_entropy(fine_logits, fine)}
        parts["attention"] = attention_mismatch(coarse_attention, fine_attention)
        return parts, (coarse_logits.argmax(1) == coarse), (fine_logits.argmax(1) == fine)

    def train_epoch(self):
        self.model.train()
        meter = dict.fromkeys(self.config["weights"], 0.0)
        for batch in self.train_loader:
            parts, _, _ = self.losses(batch)
            loss = sum(self.config["weights"][name] * parts[name] for name in ("coarse", "fine", "attention"))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for name, value in parts.items():
                meter[name] += value.item() / len(self.train_loader)
        return meter

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        mismatch, coarse, fine = [], [], []
        for batch in self.val_loader:
            parts, coarse_right, fine_right = self.losses(batch)
            mismatch.append(parts["attention"].item())
            coarse.append(coarse_right)
            fine.append(fine_right)
        return np.mean(mismatch), torch.cat(coarse).float().mean().item(), torch.cat(fine).float().mean().item()

    def fit(self):
        for epoch in range(1, self.config["epochs"] + 1):
            meter = self.train_epoch()
            mismatch, coarse, fine = self.validate()
            if epoch % 2 == 0:
                print(f"epoch {epoch:2d} " + " ".join(f"{k} {v:.4f}" for k, v in meter.items()) + f" | val coarse acc {coarse:.3f} fine acc {fine:.3f} mismatch {mismatch:.4f}")


if __name__ == "__main__":
    Trainer(CONFIG).fit()

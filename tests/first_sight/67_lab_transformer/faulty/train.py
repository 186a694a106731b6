"""Abnormal or not, from one row of coded laboratory results: each column is a token, a transformer relates the columns."""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

# sex, age band, then haemoglobin, ferritin, creatinine, urate, ALT, platelets in five bands each
CARDINALITY = [2, 4, 5, 5, 5, 5, 5, 5]


@dataclass
class Config:
    rows: int = 6400
    batch_size: int = 64
    epochs: int = 7
    dim: int = 32
    heads: int = 4
    depth: int = 2
    lr: float = 2e-3
    seed: int = 0


def make_rows(n, seed):
    """The reference ranges depend on sex (haemoglobin, urate) and on age (creatinine); 3 % of the labels are wrong."""
    g = torch.Generator().manual_seed(seed)
    rows = torch.stack([torch.randint(0, c, (n,), generator=g) for c in CARDINALITY], 1)
    sex, age, hb, urate, creatinine = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 5], rows[:, 4]
    hb_off = torch.where(sex == 0, hb <= 1, hb >= 3)
    urate_off = torch.where(sex == 0, urate >= 4, urate <= 0)
    creatinine_off = torch.where(age >= 2, creatinine <= 0, creatinine >= 4)
    label = (hb_off | (urate_off & creatinine_off)).float()
    noise = torch.rand(n, generator=g) < 0.03
    return TensorDataset(rows, torch.where(noise, 1 - label, label))


class RowTransformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.register_buffer("offset", torch.tensor([0] + CARDINALITY[:-1]).cumsum(0))
        self.embed = nn.Embedding(sum(CARDINALITY), cfg.dim)
        layer = nn.TransformerEncoderLayer(cfg.dim, cfg.heads, 4 * cfg.dim, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, cfg.depth, enable_nested_tensor=False)
        self.out = nn.Linear(cfg.dim, 1)

    def forward(self, rows):
        """(B, columns) codes to (B,) logits."""
        h = self.encoder(self.embed(rows + self.offset))
        return self.out(h.mean(1)).squeeze(1)


def auc(score, label):
    rank = score.argsort().argsort().double() + 1
    positive = label.sum()
    return ((rank[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))).item()


@torch.no_grad()
def validate(model, loader):
    model.eval()
    pairs = [(model(rows), label) for rows, label in loader]
    score, label = torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])
    return ((score > 0) == (label == 1)).float().mean().item(), auc(score, label)


def main():
    cfg = Config()
    torch.manual_seed(cfg.seed)
    train_loader = DataLoader(make_rows(cfg.rows, 1), cfg.batch_size, shuffle=True)
    val_loader = DataLoader(make_rows(1600, 2), 200)
    model = RowTransformer(cfg)
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=cfg.epochs * len(train_loader))
    for epoch in range(1, cfg.epochs + 1):
        model.train()
        total = 0.0
        for rows, label in train_loader:
            loss = F.binary_cross_entropy_with_logits(model(rows), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        accuracy, area = validate(model, val_loader)
        print(f"epoch {epoch} loss {total / len(train_loader):.4f} val accuracy {accuracy:.3f} AUC {area:.3f}")
    torch.save({"model": model.state_dict(), "config": vars(cfg)}, "rows.pt")


if __name__ == "__main__":
    main()

"""Gated attention MIL on precomputed tile features, binary slide labels; Lightning with torchmetrics, best checkpoint by AUROC."""
import tempfile

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

DIM = 48


class Slides(Dataset):
    """Bags of 30 to 80 tiles; a positive slide holds a few tiles of a tumour type of its own."""

    def __init__(self, n, seed, positive=0.15):
        g = torch.Generator().manual_seed(seed)
        basis = torch.Generator().manual_seed(99)
        tissue, tumour = torch.randn(6, DIM, generator=basis), torch.randn(2, DIM, generator=basis)
        self.bags, self.labels = [], []
        for _ in range(n):
            size = int(torch.randint(30, 81, (), generator=g))
            kind = torch.randint(0, 6, (size,), generator=g)
            tiles = tissue[kind] + 1.1 * torch.randn(size, DIM, generator=g)
            label = int(torch.rand((), generator=g) < positive)
            if label:
                k = int(torch.randint(1, 5, (), generator=g))
                where = torch.randperm(size, generator=g)[:k]
                tiles[where] += 0.95 * tumour[torch.randint(0, 2, (k,), generator=g)]
            self.bags.append(tiles)
            self.labels.append(label)

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        return self.bags[i], torch.tensor(self.labels[i])


class AttentionMIL(L.LightningModule):
    def __init__(self, hidden=32, lr=1e-3):
        super().__init__()
        self.lr = lr
        self.encode = nn.Sequential(nn.Linear(DIM, hidden), nn.ReLU(), nn.Dropout(0.2))
        self.v, self.u, self.w = nn.Linear(hidden, 24), nn.Linear(hidden, 24), nn.Linear(24, 1)
        self.classify = nn.Linear(hidden, 1)
        self.train_auroc, self.val_auroc, self.val_acc = BinaryAUROC(), BinaryAUROC(), BinaryAccuracy()

    def forward(self, tiles):
        h = self.encode(tiles)
        a = self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))).softmax(0)
        return self.classify((a * h).sum(0))

    def shared_step(self, batch):
        bags, labels = batch
        logits = torch.cat([self(bag) for bag in bags])
        loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        probs = logits.sigmoid()
        return {"loss": loss, "prob": probs, "pred": (probs > 0.5).float(), "label": labels}

    def training_step(self, batch, _):
        out = self.shared_step(batch)
        self.train_auroc.update(out["prob"].detach(), out["label"])
        self.log("train_loss", out["loss"], on_step=False, on_epoch=True, batch_size=len(out["label"]))
        return out["loss"]

    def validation_step(self, batch, _):
        out = self.shared_step(batch)
        self.val_auroc.update(out["pred"], out["label"])
        self.val_acc.update(out["pred"], out["label"])
        self.log("val_loss", out["loss"], batch_size=len(out["label"]))

    def on_validation_epoch_end(self):
        auroc, acc = self.val_auroc.compute(), self.val_acc.compute()
        self.val_auroc.reset()
        self.val_acc.reset()
        self.log("val_auroc", auroc)
        if self.trainer.sanity_checking:
            return
        m = self.trainer.callback_metrics
        print(f"epoch {self.current_epoch} train_loss {m.get('train_loss', torch.tensor(0.0)):.4f} val_loss {m['val_loss']:.4f} "
              f"val_auroc {auroc:.4f} val_acc {acc:.4f}")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.lr, weight_decay=1e-3)


def collate(items):
    return [bag for bag, _ in items], torch.stack([label for _, label in items])


def main():
    L.seed_everything(0)
    train = DataLoader(Slides(500, 0), batch_size=10, shuffle=True, collate_fn=collate)
    val = DataLoader(Slides(240, 1), batch_size=20, collate_fn=collate)
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_auroc", mode="max")
        trainer = L.Trainer(max_epochs=14, accelerator="cpu", logger=False, callbacks=[best], enable_progress_bar=False,
                            enable_model_summary=False, default_root_dir=folder)
        trainer.fit(AttentionMIL(), train, val)
        score = best.best_model_score.item()
        print(f"best val_auroc {score:.4f}")


if __name__ == "__main__":
    main()

"""Thirty-day readmission from coded columns of the record, a small FT-transformer, run by Ignite."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from ignite.engine import Engine, Events
from ignite.handlers import ModelCheckpoint
from ignite.metrics import Accuracy, Loss
from torch.utils.data import DataLoader, TensorDataset

CARDINALITY = [8, 5, 12, 6, 4, 10, 7, 3]


def records(n, seed):
    """Eight coded columns; the risk is a sum of effects of codes and of pairs of codes."""
    effect = torch.Generator().manual_seed(99)
    singles = [torch.randn(c, generator=effect) for c in CARDINALITY]
    pair = 1.5 * torch.randn(CARDINALITY[0], CARDINALITY[2], generator=effect)
    gen = torch.Generator().manual_seed(seed)
    x = torch.stack([torch.randint(0, c, (n,), generator=gen) for c in CARDINALITY], 1)
    risk = sum(s[x[:, i]] for i, s in enumerate(singles)) + pair[x[:, 0], x[:, 2]]
    y = (torch.rand(n, generator=gen) < torch.sigmoid(1.5 * risk)).float()
    return TensorDataset(x, y)


class FullEmbeddingDropout(nn.Module):
    """Drops whole columns: their embedding is zero for that record."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        mask = x.new_empty(x.shape[0], x.shape[1], 1).bernoulli_(1 - self.p) / (1 - self.p)
        return x * mask


class TabTransformer(nn.Module):
    def __init__(self, dim=24, depth=2, heads=4, embed_dropout=0.25):
        super().__init__()
        offsets = torch.tensor([0] + CARDINALITY[:-1]).cumsum(0)
        self.register_buffer("offsets", offsets)
        self.embed = nn.Embedding(sum(CARDINALITY), dim)
        self.embed_dropout = FullEmbeddingDropout(embed_dropout)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(dim * len(CARDINALITY)), nn.Linear(dim * len(CARDINALITY), 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, x):
        h = self.embed_dropout(self.embed(x + self.offsets))
        return self.head(self.encoder(h).flatten(1)).squeeze(1)


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(records(4800, 1), batch_size=64, shuffle=True)
    val_loader = DataLoader(records(1200, 2), batch_size=200)
    model = TabTransformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)

    def train_step(engine, batch):
        model.train()
        x, y = batch
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    def eval_step(engine, batch):
        model.eval()
        with torch.no_grad():
            x, y = batch
            return model(x), y

    trainer, evaluator = Engine(train_step), Engine(eval_step)
    Accuracy(output_transform=lambda out: ((out[0] > 0).long(), out[1].long())).attach(evaluator, "accuracy")
    Loss(F.binary_cross_entropy_with_logits).attach(evaluator, "loss")
    checkpoint = ModelCheckpoint("checkpoints", "best", score_function=lambda engine: engine.state.metrics["accuracy"], n_saved=1, require_empty=False)
    evaluator.add_event_handler(Events.COMPLETED, checkpoint, {"model": model})

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine):
        evaluator.run(val_loader)
        m = evaluator.state.metrics
        print(f"epoch {engine.state.epoch} loss {engine.state.output:.4f} val loss {m['loss']:.4f} accuracy {m['accuracy']:.4f}")

    trainer.run(train_loader, max_epochs=8)


if __name__ == "__main__":
    main()

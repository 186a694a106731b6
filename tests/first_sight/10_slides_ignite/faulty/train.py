"""Attention MIL on slide features (tumor / normal) with Ignite."""
import csv
import json
import tempfile
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from torch import nn
from torch.utils.data import DataLoader, Dataset

DIM = 32


def export_features(root):
    """Feature files as the extractor leaves them: listing.json for training, reference.csv for the test slides."""
    gen = torch.Generator().manual_seed(5)
    mean = 0.9 * torch.nn.functional.normalize(torch.randn(DIM, generator=gen), dim=0) * 3
    listing, reference = [], []
    for i in range(420):
        positive = bool((torch.rand((), generator=gen) < 0.5) if i else True)
        feats = torch.randn(int(torch.randint(30, 80, (), generator=gen)), DIM, generator=gen)
        if positive:
            feats[: max(2, len(feats) // 12)] += mean
        name = f"slide_{i:03d}.pt"
        torch.save(feats[torch.randperm(len(feats), generator=gen)], root / name)
        if i < 300:
            listing.append({"file": name, "class": "tumor" if positive else "normal"})
        else:
            reference.append({"file": name, "label": int(positive)})
    (root / "listing.json").write_text(json.dumps(listing))
    with open(root / "reference.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, ["file", "label"])
        writer.writeheader()
        writer.writerows(reference)


class Slides(Dataset):
    def __init__(self, root, rows):
        self.bags = [(torch.load(root / name), label) for name, label in rows]

    def __len__(self):
        return len(self.bags)

    def __getitem__(self, i):
        feats, label = self.bags[i]
        return feats, torch.tensor(float(label))


def training_rows(root):
    listing = json.loads((root / "listing.json").read_text())
    classes = []
    for row in listing:
        if row["class"] not in classes:
            classes.append(row["class"])
    sorted(classes)
    return [(row["file"], classes.index(row["class"])) for row in listing]


def test_rows(root):
    with open(root / "reference.csv", newline="") as f:
        return [(row["file"], int(row["label"])) for row in csv.DictReader(f)]


class AttentionMIL(nn.Module):
    def __init__(self, dim=DIM, hidden=24):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(0.25))
        self.v, self.u, self.w = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.head = nn.Linear(hidden, 1)

    def forward(self, bag):
        h = self.embed(bag)
        a = torch.softmax(self.w(torch.tanh(self.v(h)) * torch.sigmoid(self.u(h))), dim=0)
        return self.head((a * h).sum(0)).squeeze(), a


def auc(scores, labels):
    pos, neg = scores[labels == 1], scores[labels == 0]
    return ((pos[:, None] > neg).float().mean() + 0.5 * (pos[:, None] == neg).float().mean()).item()


def main():
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        export_features(root)
        train, test = Slides(root, training_rows(root)), Slides(root, test_rows(root))
    print(f"train {len(train)} slides, {sum(l for _, l in train.bags)} with label 1; test {len(test)} slides, {sum(l for _, l in test.bags)} with label 1")
    train_loader = DataLoader(train, batch_size=None, shuffle=True)
    test_loader = DataLoader(test, batch_size=None)
    model = AttentionMIL()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    criterion = nn.BCEWithLogitsLoss()

    def update(engine, batch):
        model.train()
        optimizer.zero_grad()
        logit, _ = model(batch[0])
        loss = criterion(logit, batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict(engine, batch):
        model.eval()
        with torch.no_grad():
            return torch.sigmoid(model(batch[0])[0]), batch[1]

    trainer, evaluator = Engine(update), Engine(predict)
    Average().attach(trainer, "loss")
    collected = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda e: collected.append(e.state.output))

    @trainer.on(Events.EPOCH_COMPLETED(every=2))
    def report(engine):
        collected.clear()
        evaluator.run(test_loader)
        scores, labels = (torch.stack(c) for c in zip(*collected))
        accuracy = ((scores > 0.5) == (labels == 1)).float().mean()
        print(f"epoch {engine.state.epoch} loss {engine.state.metrics['loss']:.4f} test_auc {auc(scores, labels):.3f} test_accuracy {accuracy:.3f}")

    trainer.run(train_loader, max_epochs=16)


if __name__ == "__main__":
    main()

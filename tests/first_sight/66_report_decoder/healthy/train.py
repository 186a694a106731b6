"""Radiology reports from chest films. Teacher forcing in training, greedy decoding in validation."""
import argparse

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from rrg.data import PAD, VOCABULARY, Films
from rrg.model import ReportWriter


@torch.no_grad()
def evaluate(model, loader):
    """Exact reports and right words (of the reference) in greedy decoding."""
    model.eval()
    exact = reports = right = words = 0
    for images, tokens in loader:
        written = model.generate(images)
        inside = tokens[:, 1:] != PAD
        hit = (written[:, 1:] == tokens[:, 1:]) & inside
        exact += (hit.sum(1) == inside.sum(1)).sum().item()
        reports += len(images)
        right += hit.sum().item()
        words += inside.sum().item()
    example = " ".join(VOCABULARY[t] for t in written[0].tolist() if t > 2)
    return exact / reports, right / words, example


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    train_loader = DataLoader(Films(880, 1), args.batch_size, shuffle=True)
    val_loader = DataLoader(Films(120, 2), 60)
    model = ReportWriter()
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader))
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for images, tokens in train_loader:
            logits = model(images, tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
        print(f"epoch {epoch:2d} train loss {total / len(train_loader):.4f}")
        if epoch % 4 == 0:
            exact, words, example = evaluate(model, val_loader)
            print(f"  val exact reports {exact:.3f}, right words {words:.3f}, e.g. {example}")
    torch.save(model.state_dict(), "writer.pt")


if __name__ == "__main__":
    main()

"""Five findings on chest radiographs, one logit each.  python train.py [--epochs 24] [--lr 0.002]"""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset
from torchmetrics.functional.classification import multilabel_auroc

from data import FINDINGS, ChestFindings
from splits import IterativeStratifiedSplitter


def network(ch=12):
    layers, cin = [], 1
    for cout in (ch, 2 * ch, 4 * ch):
        layers += [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]
        cin = cout
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * ch * 25, 64), nn.ReLU(), nn.Linear(64, len(FINDINGS)))


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    scores, labels = zip(*[(model(x).sigmoid(), y.long()) for x, y in loader])
    return multilabel_auroc(torch.cat(scores), torch.cat(labels), num_labels=len(FINDINGS)).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--lr", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    dataset = ChestFindings()
    train, valid, test = IterativeStratifiedSplitter(seed=1).train_valid_test_split(dataset.labels)
    for name, part in (("train", train), ("valid", valid), ("test", test)):
        print(f"{name}: {len(part)} images, prevalence {np.round(dataset.labels[part].mean(0), 2)}")
    train_loader = DataLoader(Subset(dataset, train), batch_size=32, shuffle=True)
    valid_loader, test_loader = DataLoader(Subset(dataset, valid), batch_size=64), DataLoader(Subset(dataset, test), batch_size=64)

    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=0.01)
    criterion = nn.BCEWithLogitsLoss()
    best = 0.0
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() / len(train_loader)
        auc = evaluate(model, valid_loader)
        if auc > best:
            best = auc
            torch.save(model.state_dict(), "best.pt")
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1} loss {total:.4f} valid AUROC {auc:.3f}")
    model.load_state_dict(torch.load("best.pt"))
    print(f"best valid AUROC {best:.3f}, test AUROC {evaluate(model, test_loader):.3f}")


if __name__ == "__main__":
    main()

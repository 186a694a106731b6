"""Tumour nest or stroma for every nucleus of a tissue core, with a small GraphSAGE on the cell graph."""
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

from graphs import collate, core_to_graph, make_core


class SAGELayer(nn.Module):
    """Own features and the mean over incoming neighbours."""

    def __init__(self, dim_in, dim_out):
        super().__init__()
        self.own = nn.Linear(dim_in, dim_out)
        self.neighbours = nn.Linear(dim_in, dim_out, bias=False)

    def forward(self, x, edge_index):
        source, target = edge_index
        total = torch.zeros_like(x).index_add_(0, target, x[source])
        degree = torch.zeros(len(x)).index_add_(0, target, torch.ones(len(target))).clamp(min=1)
        return self.own(x) + self.neighbours(total / degree[:, None])


class CellGraphNet(nn.Module):
    def __init__(self, features=4, hidden=48, classes=2, layers=3, dropout=0.1):
        super().__init__()
        self.embed = nn.Linear(features, hidden)
        self.layers = nn.ModuleList([SAGELayer(hidden, hidden) for _ in range(layers)])
        self.norms = nn.ModuleList([nn.LayerNorm(hidden) for _ in range(layers)])
        self.dropout = dropout
        self.head = nn.Linear(hidden, classes)

    def forward(self, x, edge_index):
        h = self.embed(x)
        for layer, norm in zip(self.layers, self.norms):
            h = h + F.dropout(F.relu(layer(norm(h), edge_index)), self.dropout, self.training)
        return self.head(h)


@torch.no_grad()
def evaluate(model, loader):
    """Accuracy and F1 of the tumour class over all nuclei."""
    model.eval()
    right = total = tp = positive = predicted = 0
    for batch in loader:
        guess = model(batch["x"], batch["edge_index"]).argmax(1)
        right += (guess == batch["y"]).sum().item()
        total += len(guess)
        tp += ((guess == 1) & (batch["y"] == 1)).sum().item()
        positive += (batch["y"] == 1).sum().item()
        predicted += (guess == 1).sum().item()
    return right / total, 2 * tp / max(positive + predicted, 1)


def main():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    train_graphs = [core_to_graph(*make_core(seed)) for seed in range(160)]
    val_graphs = [core_to_graph(*make_core(seed)) for seed in range(1000, 1040)]
    train_loader = DataLoader(train_graphs, batch_size=8, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(val_graphs, batch_size=20, collate_fn=collate)
    model = CellGraphNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    epochs = 30
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        running = 0.0
        for batch in train_loader:
            loss = F.cross_entropy(model(batch["x"], batch["edge_index"]), batch["y"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        scheduler.step()
        if (epoch + 1) % 5 == 0:
            accuracy, f1 = evaluate(model, val_loader)
            print(f"epoch {epoch + 1:2d} loss {running / len(train_loader):.4f} val acc {accuracy:.3f} val F1 {f1:.3f}")
    torch.save(model.state_dict(), "cellgraph.pt")


if __name__ == "__main__":
    main()

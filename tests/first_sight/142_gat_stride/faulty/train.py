"""Graph attention over brain parcels: which parcels belong to the epileptogenic network (label of each node).

Every subject is a graph of parcels with one noisy measurement each; parcels with a poor signal are of no use to their neighbours.
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PARCELS, FEATURES = 30, 6


def subjects(count, seed):
    """Node features, adjacency with self connections, and a label for every parcel."""
    rng = np.random.default_rng(seed)
    features, adjacency, labels = [], [], []
    for _ in range(count):
        place = rng.uniform(0, 1, (PARCELS, 2))
        distance = np.linalg.norm(place[:, None] - place[None], axis=-1)
        near = np.argsort(distance, 1)[:, :9]
        link = np.zeros((PARCELS, PARCELS), bool)
        np.put_along_axis(link, near, True, 1)
        link |= link.T
        centre = rng.uniform(0.1, 0.9, 2)
        label = np.linalg.norm(place - centre, axis=1) < 0.38
        poor = rng.random(PARCELS) < 0.6
        signal = np.where(poor, rng.normal(0, 9.0, PARCELS), (2.0 * label - 1) + rng.normal(0, 1.0, PARCELS))
        quality = np.where(poor, -1.0, 1.0) + rng.normal(0, 0.25, PARCELS)
        rest = rng.normal(0, 1, (PARCELS, FEATURES - 2))
        features.append(np.column_stack([signal / 3, quality, rest]))
        adjacency.append(link)
        labels.append(label)
    as_float = lambda rows: torch.tensor(np.stack(rows), dtype=torch.float32)
    return TensorDataset(as_float(features), as_float(adjacency), as_float(labels))


class GraphAttention(nn.Module):
    """Several heads, each with its own linear attention on the pair of nodes at the ends of an edge."""

    def __init__(self, c_in, c_out, heads=4):
        super().__init__()
        self.heads, self.width = heads, c_out // heads
        self.project = nn.Linear(c_in, c_out)
        self.score = nn.Parameter(torch.empty(heads, 2 * self.width))
        nn.init.xavier_uniform_(self.project.weight, gain=1.4)
        nn.init.xavier_uniform_(self.score, gain=1.4)

    def forward(self, x, adjacency):
        batch, nodes = x.shape[:2]
        h = self.project(x).view(batch, nodes, self.heads, self.width)
        flat = h.view(batch * nodes, self.heads, self.width)
        graph, source, target = adjacency.nonzero(as_tuple=True)
        rows = graph * batch + source
        cols = graph * batch + target
        pair = torch.cat([flat[rows], flat[cols]], -1)
        logits = F.leaky_relu(torch.einsum("ehc,hc->eh", pair, self.score), 0.2)
        table = logits.new_full((batch, nodes, nodes, self.heads), -1e9)
        table[graph, source, target] = logits
        weights = table.softmax(2)
        return torch.einsum("bijh,bjhc->bihc", weights, h).reshape(batch, nodes, -1)


class ParcelNet(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first, self.second = GraphAttention(FEATURES, width), GraphAttention(width, width)
        self.out = nn.Linear(2 * width, 1)

    def forward(self, x, adjacency):
        a = F.elu(self.first(x, adjacency))
        b = F.elu(self.second(a, adjacency))
        return self.out(torch.cat([a, b], -1)).squeeze(-1)


def accuracy_and_loss(model, loader):
    model.eval()
    right = total = loss = 0
    with torch.no_grad():
        for x, adjacency, y in loader:
            logits = model(x, adjacency)
            loss += F.binary_cross_entropy_with_logits(logits, y, reduction="sum").item()
            right, total = right + ((logits > 0) == (y > 0)).sum().item(), total + y.numel()
    return right / total, loss / total


def main(epochs=24, batch_size=16, lr=4e-3):
    torch.manual_seed(0)
    train_loader = DataLoader(subjects(320, 10), batch_size, shuffle=True)
    val_loader = DataLoader(subjects(96, 11), batch_size)
    model = ParcelNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        model.train()
        running = []
        for x, adjacency, y in train_loader:
            loss = F.binary_cross_entropy_with_logits(model(x, adjacency), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running.append(loss.item())
        scheduler.step()
        if (epoch + 1) % 4 == 0:
            accuracy, val_loss = accuracy_and_loss(model, val_loader)
            print(f"epoch {epoch + 1:2d} train loss {np.mean(running):.4f} val loss {val_loss:.4f} node accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()

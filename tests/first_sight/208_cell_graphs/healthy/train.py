"""Immune infiltration from graphs of nuclei: every field of view is a graph, the question is a property of the whole graph."""
import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.spatial import cKDTree


@dataclass
class Settings:
    nuclei: tuple = (24, 56)
    neighbours: int = 5
    hidden: int = 32
    layers: int = 3
    epochs: int = 16
    batch: int = 32
    lr: float = 3e-3
    weight_decay: float = 1e-4
    patience: int = 6
    seed: int = 11


@dataclass
class CellGraph:
    node_features: np.ndarray
    edge_index: np.ndarray
    label: int

    @property
    def num_nodes(self):
        return len(self.node_features)


@dataclass
class BatchedGraphs:
    """One large graph without edges between the fields of view; graph_index tells the field of every nucleus."""

    node_features: torch.Tensor
    edge_index: torch.Tensor
    graph_index: torch.Tensor
    label: torch.Tensor

    @classmethod
    def of(cls, graphs):
        sizes = [g.num_nodes for g in graphs]
        offsets = np.cumsum([0] + sizes[:-1])
        edges = np.concatenate([g.edge_index + start for g, start in zip(graphs, offsets)], 1)
        features = np.concatenate([g.node_features for g in graphs]).astype(np.float32)
        index = np.repeat(np.arange(len(graphs)), sizes)
        return cls(*(torch.from_numpy(a) for a in (features, edges, index)), torch.tensor([g.label for g in graphs]))


def field_of_view(rng, infiltrated, cfg):
    """Lymphocytes lie among the tumour cells or keep to one side of a border; edges join near nuclei both ways."""
    n = rng.integers(*cfg.nuclei)
    xy, angle = rng.uniform(0, 1, (n, 2)), rng.uniform(0, 2 * np.pi)
    side = (xy - 0.5) @ np.array([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.08, n)
    depth = rng.permutation(side) if infiltrated else side
    lymphocyte = depth > np.quantile(depth, rng.uniform(0.4, 0.7))
    area = np.where(lymphocyte, rng.normal(-0.8, 0.5, n), rng.normal(0.6, 0.7, n))
    stain = np.where(lymphocyte, rng.normal(0.7, 0.6, n), rng.normal(-0.5, 0.6, n))
    _, near = cKDTree(xy).query(xy, cfg.neighbours + 1)
    pairs = np.stack([np.repeat(np.arange(n), cfg.neighbours), near[:, 1:].ravel()])
    edges = np.unique(np.concatenate([pairs, pairs[::-1]], 1), axis=1)
    return CellGraph(np.stack([area, stain, rng.normal(0, 1, n)], 1), edges, int(infiltrated))


def make_split(count, seed, cfg):
    rng = np.random.default_rng(seed)
    return [field_of_view(rng, rng.random() < 0.5, cfg) for _ in range(count)]


def scatter_mean(values, index, size):
    total = values.new_zeros(size, values.shape[1]).index_add_(0, index, values)
    return total / torch.bincount(index, minlength=size).clamp(min=1)[:, None]


class GraphLayer(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.own, self.around = nn.Linear(cin, cout), nn.Linear(cin, cout, bias=False)

    def forward(self, x, edge_index):
        source, goal = edge_index
        return F.relu(self.own(x) + self.around(scatter_mean(x[source], goal, len(x))))


class GraphClassifier(nn.Module):
    def __init__(self, cfg, features=3, classes=2):
        super().__init__()
        widths = [features] + [cfg.hidden] * cfg.layers
        self.layers = nn.ModuleList(GraphLayer(a, b) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in widths[1:])
        self.head = nn.Sequential(nn.Linear(cfg.hidden, cfg.hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(cfg.hidden, classes))

    def forward(self, batch):
        x = batch.node_features
        for layer, norm in zip(self.layers, self.norms):
            x = norm(layer(x, batch.edge_index))
        return self.head(scatter_mean(x, batch.graph_index, len(batch.label)))


def auroc(score, label):
    order = torch.argsort(score)
    rank = torch.empty(len(score))
    rank[order] = torch.arange(1, len(score) + 1, dtype=torch.float32)
    pos = label == 1
    n1, n0 = pos.sum(), (~pos).sum()
    return ((rank[pos].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)).item()


@torch.no_grad()
def evaluate(model, split):
    model.eval()
    batches = [BatchedGraphs.of(split[i : i + 50]) for i in range(0, len(split), 50)]
    out, label = torch.cat([model(b) for b in batches]), torch.cat([b.label for b in batches])
    return {
        "loss": F.cross_entropy(out, label).item(),
        "acc": (out.argmax(1) == label).float().mean().item(),
        "auc": auroc(out[:, 1] - out[:, 0], label),
    }


def train(cfg):
    torch.manual_seed(cfg.seed)
    splits = {name: make_split(n, cfg.seed + i, cfg) for i, (name, n) in enumerate([("train", 500), ("val", 150), ("test", 200)])}
    model = GraphClassifier(cfg)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    best, state, waited = float("inf"), None, 0
    for epoch in range(cfg.epochs):
        model.train()
        losses = []
        for rows in torch.randperm(len(splits["train"])).split(cfg.batch):
            batch = BatchedGraphs.of([splits["train"][i] for i in rows])
            loss = F.cross_entropy(model(batch), batch.label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        val = evaluate(model, splits["val"])
        if epoch % 2 == 0:
            print(f"epoch {epoch:2d} train loss {np.mean(losses):.4f} val loss {val['loss']:.4f} acc {val['acc']:.3f} auc {val['auc']:.3f}")
        waited += 1
        if val["loss"] < best:
            best, waited = val["loss"], 0
            state = {k: v.clone() for k, v in model.state_dict().items()}
        if waited > cfg.patience:
            break
    model.load_state_dict(state)
    for name in splits:
        print(name, json.dumps({k: round(v, 4) for k, v in evaluate(model, splits[name]).items()}))


if __name__ == "__main__":
    settings = Settings()
    print(json.dumps(asdict(settings)))
    train(settings)

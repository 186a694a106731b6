"""Cell graphs from the table of detected nuclei of a tissue core."""
import numpy as np
import torch
from scipy.spatial import cKDTree


def make_core(seed, n=160, size=400.0):
    """Nuclei of one core: positions in micrometres, four noisy shape features, 1 where the cell is in a tumour nest."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, size, (n, 2))
    nests = rng.uniform(0.15 * size, 0.85 * size, (3, 2))
    radius = rng.uniform(60, 90, 3)
    inside = (np.linalg.norm(xy[:, None] - nests[None], axis=2) < radius).any(1)
    shift = np.array([0.9, 0.7, -0.6, 0.5])
    features = rng.normal(0, 1, (n, 4)) + shift * (inside[:, None] - 0.5)
    return xy, features.astype(np.float32), inside.astype(np.int64)


def core_to_graph(xy, features, labels, radius=55.0):
    """Cells closer than the radius are neighbours. Edges are (source, target), one column each."""
    pairs = cKDTree(xy).query_pairs(radius, output_type="ndarray")
    edges = torch.as_tensor(np.concatenate([pairs, pairs[:, ::-1]]), dtype=torch.long).t().contiguous()
    return {"x": torch.from_numpy(features), "edge_index": edges, "y": torch.from_numpy(labels)}


def collate(graphs):
    """Several cores as one graph without edges between them."""
    offset, edges = 0, []
    for g in graphs:
        edges.append(g["edge_index"] + offset)
        offset += len(g["x"])
    return {
        "x": torch.cat([g["x"] for g in graphs]),
        "edge_index": torch.cat(edges, 1),
        "y": torch.cat([g["y"] for g in graphs]),
    }

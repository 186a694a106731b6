"""Attention of a query over the slices of a study."""
import torch
import torch.nn as nn


class SliceAttention(nn.Module):
    """Mixes slices, each weighted by how well it answers the query."""

    def __init__(self, dim):
        super().__init__()
        self.ask = nn.Linear(dim, dim, bias=False)
        self.share = nn.Softmax(dim=0)
        self.dim = dim

    def forward(self, query, slices):
        """query (B, D), slices (B, N, D) -> mix (B, D), weights (B, N)."""
        scores = torch.einsum("bd,bnd->bn", self.ask(query), slices) / self.dim**0.5
        weights = self.share(scores)
        return torch.einsum("bn,bnd->bd", weights, slices), weights

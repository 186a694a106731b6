"""Padded sequences and their mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LOSS = """
import torch

def loss(x, mean, mask):
    kl = {kl}
    error = ((x - mean) ** 2).sum(-1) * mask
    return (kl.sum() + error.sum()) / mask.sum()

def main():
    torch.manual_seed(0)
    mask = (torch.arange(9)[None] < torch.tensor([9, 5, 3, 7])[:, None]).float()
    x = torch.randn(4, 9, 2) * mask[..., None]
    value = loss(x, x * 0.5, mask)
    stop()
"""
LAST = """
import torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(), torch.nn.Linear(8, 2)

    def forward(self, ids, attention_mask):
        return self.head(self.encoder(ids, attention_mask))

class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn = torch.nn.Embedding(20, 8), torch.nn.GRU(8, 8, batch_first=True)

    def forward(self, ids, attention_mask):
        states, _ = self.rnn(self.embed(ids))
        last = {last}
        return states[torch.arange(len(states)), last]

def main():
    torch.manual_seed(0)
    encoder = Model()
    mask = (torch.arange(6)[None] < torch.tensor([6, 4, 6, 3, 6, 5, 6, 2])[:, None]).long()
    ids = torch.randint(1, 20, (8, 6)) * mask
    out = encoder(ids, mask)
    stop()
"""


def test_a_sum_over_everything_times_the_mask(script: Callable[[str], Any]) -> None:
    faulty = script(LOSS.format(kl="(x ** 2).sum() * mask"))
    (finding,) = faulty.found("L331")
    assert finding.location.line == faulty.line("kl = ")
    healthy = script(LOSS.format(kl="(x ** 2).sum(-1) * mask"))
    assert healthy.records
    assert not healthy.found("L331")


def test_what_leaks_through_a_layer_is_no_fault(script: Callable[[str], Any]) -> None:
    near = script(LOSS.format(kl="((x ** 2).sum(-1) + 0.001 * (x ** 2).sum()) * mask"))
    assert any(record.padding > 0 for record in near.records)
    assert not near.found("L331")


def test_the_last_step_of_full_sequences(script: Callable[[str], Any]) -> None:
    faulty = script(LAST.format(last="(attention_mask.argmin(1) - 1).clamp(min=0)"))
    (finding,) = faulty.found("L331")
    assert finding.location.line == faulty.line("return states")
    for last in ("attention_mask.sum(1) - 1", "torch.zeros(8, dtype=torch.long)"):  # the first step is one on purpose
        assert not script(LAST.format(last=last)).found("L331")

"""Contrastive losses on two views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SOURCE = """
import torch
import torch.nn.functional as F

class {name}(torch.nn.Module):
    def forward(self, first, second):
        z = F.normalize(torch.cat({joined}), dim=1)
        partner = torch.arange(16).roll(8)
        return F.cross_entropy((z @ z.T / 0.2).masked_fill(torch.eye(16, dtype=torch.bool), -1e4), partner)

def main():
    torch.manual_seed(0)
    criterion = {name}()
    first, second = torch.randn(8, 16).split(4), torch.randn(8, 16).split(4)
    loss = criterion(first, second)
    stop()
"""
BY_SHARD = "[torch.cat(views) for views in zip(first, second)]"


def test_views_joined_in_another_order(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(name="NTXent", joined=BY_SHARD))
    (finding,) = faulty.found("L332")
    assert finding.location.line == faulty.line("return F.cross_entropy")
    assert not script(SOURCE.format(name="NTXent", joined="[*first, *second]")).found("L332")


def test_what_is_not_named_for_it_is_not_tried(script: Callable[[str], Any]) -> None:
    assert not script(SOURCE.format(name="Difference", joined=BY_SHARD)).records


def test_a_supervised_loss_of_two_sets_gains_by_equal_views(script: Callable[[str], Any]) -> None:
    near = script(
        """
        import torch

        def clip_loss(image, text):
            logits = image @ text.T * 10
            return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)))

        def main():
            loss = clip_loss(torch.randn(6, 12), torch.randn(6, 12))
            stop()
        """
    )
    assert near.records
    assert not near.found("L332")

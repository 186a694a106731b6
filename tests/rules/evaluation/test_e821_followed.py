"""E821 on a function that is called once the last batch is through, with what the loop has gathered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from traindx.evidence.probed_functions import ScoreTried

if TYPE_CHECKING:
    from forked import Seen

SCRIPT = """
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader, TensorDataset

    def auroc(scores, labels):
        low, high = scores[labels == 0], scores[labels == 1]
        return (high[:, None] > low[None]).float().mean().item()

    def summary(probabilities, labels):
        chosen = {chosen}
        return {{"auc": auroc(chosen, labels), "accuracy": (probabilities.argmax(1) == labels).float().mean().item()}}

    def evaluate(net, loader):
        net.eval()
        given, wanted = [], []
        with torch.no_grad():
            for x, y in loader:
                given.append(net(x).softmax(1))
                wanted.append(y)
        return summary(torch.cat(given), torch.cat(wanted))

    torch.manual_seed(0)
    x = torch.randn(160, 6)
    y = (x[:, 0] > 0).long()
    train, val = (DataLoader(TensorDataset(x[i::2], y[i::2]), 16, shuffle=not i) for i in (0, 1))
    net = torch.nn.Linear(6, 2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for epoch in range(4):
        net.train()
        for a, b in train:
            loss = F.cross_entropy(net(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(net, val))
        open("made.txt", "a").write("x")
"""


@pytest.mark.parametrize(("chosen", "said"), [("probabilities.max(1).values", True), ("probabilities[:, 1]", False)])
def test_what_comes_after_the_loop_is_tried(
    script: Callable[..., Seen], tmp_path: Path, chosen: str, said: bool
) -> None:
    seen = script(SCRIPT.format(chosen=chosen))
    assert {one.score for one in seen.evidence.of(ScoreTried)} >= {"AUC", "accuracy"}
    found = seen.found("E821")
    assert len(found) == said
    assert (tmp_path / "made.txt").read_text() == "xxxx"  # by the script alone
    if said:
        assert found[0].location is not None
        assert found[0].location.line == seen.line("chosen = ")

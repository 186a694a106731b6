"""C1115 over watched programs: the line that is named, and silence on twins."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from traindx.evidence import Evidence
from traindx.evidence.observed_calls import ContractSeen
from traindx.evidence.observed_optim import ClippingSeen
from traindx.finding import Finding, Location, Standing
from traindx.watch.collectors.library_contracts import LibraryContracts
from watch.inside import found, watched


def line_of(finding: Finding) -> str:
    assert finding.location is not None
    return Path(__file__).read_text().splitlines()[finding.location.line - 1].strip()


class Relates(nn.Module):
    """Tokens of a sample, related to one another or to those of the other samples."""

    def __init__(self, first: bool, axis: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=first)
        self.axis = axis

    def forward(self, tokens: Tensor) -> Tensor:
        weights = tokens.mean(2).softmax(self.axis)
        related = self.layer(tokens.view(-1, 8, 5).transpose(1, 2) if self.axis == 0 else tokens)
        return (weights[..., None] * related).sum(1)[:, :3]


@pytest.mark.parametrize(
    ("first", "axis", "loss", "lines"),
    [
        (False, 0, "shares", ["related = sel", "related = sel", "return F.kl_d", "weights = tok"]),
        (True, 1, "logarithms", []),
    ],
)
def test_three_contracts(first: bool, axis: int, loss: str, lines: list[str], tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        net = Relates(first, axis)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3, betas=(0.9, 0.999))
        loader = DataLoader(
            TensorDataset(torch.randn(20, 5, 8), torch.rand(20, 3).softmax(1)), 8, shuffle=True
        )  # 8, 8, 4
        for _ in range(2):
            for tokens, target in loader:
                optimizer.zero_grad()
                compared(net(tokens), target, loss).backward()
                optimizer.step()

    findings = found("C1115", watched(script, tmp_path))
    assert sorted(line_of(one)[:13] for one in findings) == sorted(lines)
    assert {one.standing for one in findings if one.variant == "kl-div-of-probabilities"} <= {Standing.DEMONSTRATED}


def compared(output: Tensor, target: Tensor, loss: str) -> Tensor:
    given = output.softmax(1) if loss == "shares" else output.log_softmax(1)
    return F.kl_div(given, target, reduction="batchmean")


@pytest.mark.parametrize("kind", ["before", "after", "frozen"])
def test_clipping_before_backward(kind: str, tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        net, frozen = nn.Linear(4, 1), nn.Linear(4, 4).requires_grad_(False)
        optimizer = torch.optim.SGD(net.parameters(), 1e-2)
        for _ in range(6):
            optimizer.zero_grad()
            loss = net(frozen(torch.randn(8, 4))).square().mean()
            if kind == "before":
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            elif kind == "frozen":
                nn.utils.clip_grad_norm_(frozen.parameters(), 1.0)
            loss.backward()
            if kind == "after":
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()

    evidence = watched(script, tmp_path)
    assert evidence.of(ClippingSeen)
    findings = found("O413", evidence)
    assert [one.variant for one in findings] == (["before-backward"] if kind == "before" else [])


@pytest.mark.parametrize(("sets", "count"), [(False, 1), (True, 0)])
def test_the_order_of_a_distributed_sampler(sets: bool, count: int, tmp_path: Path) -> None:
    def script() -> None:
        net, data = nn.Linear(2, 1), TensorDataset(torch.randn(12, 2))
        optimizer = torch.optim.SGD(net.parameters(), 1e-2)
        sampler = DistributedSampler(data, num_replicas=2, rank=0)
        aside = DistributedSampler(data, num_replicas=2, rank=0)  # of validation, where the order does not matter
        for epoch in range(3):
            if sets:
                sampler.set_epoch(epoch)
            for (batch,) in DataLoader(data, 3, sampler=sampler):
                optimizer.zero_grad()
                net(batch).square().mean().backward()
                optimizer.step()
            for (batch,) in DataLoader(data, 3, sampler=aside):
                with torch.no_grad():
                    net(batch)

    findings = [one for one in found("C1115", watched(script, tmp_path)) if one.variant == "same-order-every-epoch"]
    assert len(findings) == count


@pytest.mark.parametrize(
    ("words", "count"), [(["--flip", "False"], 1), (["--flip", "yes"], 0), ([], 0), (["--mirror", "False"], 0)]
)
def test_text_as_bool(words: list[str], count: int) -> None:
    contracts = LibraryContracts()
    contracts.install_argparse(argparse)
    try:
        parser = argparse.ArgumentParser()
        parser.add_argument("--flip", type=bool, default=True)
        parser.add_argument("--mirror", type=lambda text: text == "True")
        given = parser.parse_args(words)
    finally:
        contracts.stop()
        contracts.patches.undo()
    assert given.flip is True
    assert given.mirror is (False if words[:1] == ["--mirror"] else None)
    evidence = Evidence()
    for record in contracts.records():
        evidence.add(record)
    findings = found("C1115", evidence)
    assert [line_of(one) for one in findings] == ['parser.add_argument("--flip", type=bool, default=True)'] * count


@pytest.mark.parametrize(
    ("calls", "broken", "sizes", "count"), [(10, 10, 2, 1), (10, 10, 1, 0), (10, 8, 2, 0), (2, 2, 2, 0)]
)
def test_how_many_calls_decide(calls: int, broken: int, sizes: int, count: int) -> None:
    evidence, place = Evidence(), Location(file="train.py", line=3)
    evidence.add(
        ContractSeen(
            contract="over-the-batch", function="softmax", calls=calls, broken=broken, sizes=sizes, where=place
        )
    )
    assert len(found("C1115", evidence)) == count

"""C1107: the number that acts beside the number that is configured."""

from __future__ import annotations

import json

import pytest

from traindx.finding import Finding, Standing

TRAIN = """
    import json

    import torch
    from torch import nn

    class Loss(nn.Module):
        def __init__(self, near=1.0, far=1.0, edge_weight=0.25):
            super().__init__()
            self.near, self.far, self.edge_weight = near, far, edge_weight

        def forward(self, out, target):
            error = (out - target).square().mean()
            return self.near * error + self.far * error + self.edge_weight * out.diff(dim=0).square().mean()

    with open("run.json") as file:
        config = json.load(file)

    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    parts = {"near": config.get("near", 1.0), "far": config.get("far", 1.0)}
    loss = Loss(**parts)
    opt = torch.optim.SGD(net.parameters(), lr=config["lr"])
    for step in range(20):
        x = torch.randn(8, 4)
        opt.zero_grad()
        loss(net(x), x.sum(1, keepdim=True)).backward()
        opt.step()
    print("edge", getattr(loss, "near", 0))
"""
SETTINGS = {"lr": 0.01, "near": 0.7, "far": 0.2, "edge_weight": 0.5}


def said(script, source: str = TRAIN, **settings: float) -> list[Finding]:
    with open("run.json", "w", encoding="utf-8") as out:  # the fixture has changed to a folder of its own
        json.dump({**SETTINGS, **settings}, out)
    seen = script(source)
    assert seen.diagnosis.errors == ()
    return [one for one in seen.found("C1107") if one.variant == "acts-otherwise"]


def test_a_weight_that_does_not_arrive_is_named_where_the_others_are_handed_on(script) -> None:
    (finding,) = said(script)
    assert finding.standing is Standing.SUSPECTED
    assert finding.numbers["configured"] == 0.5
    assert finding.numbers["acting"] == 0.25
    assert finding.location is not None
    lines = [line.strip() for line in TRAIN.strip("\n").splitlines()]
    assert lines[finding.location.line - 1].startswith("parts = ")


def test_a_part_that_is_merged_into_another_mapping_is_followed(script) -> None:
    merged = '"far", 1.0)}; merged = {"seed": 0, **config}; seed = merged["seed"]'
    assert len(said(script, TRAIN.replace('"far", 1.0)}', merged, 1))) == 1


@pytest.mark.parametrize(
    ("old", "new", "settings"),
    [
        ('"far", 1.0)}', '"far", 1.0), "edge_weight": config["edge_weight"]}', {}),  # it arrives
        (
            '"far", 1.0)}',
            '"far", 1.0)}; merged = {"seed": 0, **config}; w = merged["edge_weight"]',
            {},
        ),  # it is asked for
        ("", "", {"edge_weight": 0.25}),  # what acts is what was asked for
        ('"far", 1.0)}', '"far", 1.0)}; everything = list(config.values())', {}),  # all goes in at once: who knows
        ("edge_weight * out", "edge_weight * config['edge_weight'] * out", {}),  # it acts elsewhere
    ],
    ids=["arrives", "merged", "the same", "in bulk", "read elsewhere"],
)
def test_near_misses(script, old: str, new: str, settings: dict[str, float]) -> None:
    assert said(script, TRAIN.replace(old, new, 1) if old else TRAIN, **settings) == []

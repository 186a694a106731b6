"""C1107: settings that nothing reads, beside keys that only look like settings, or are read another way."""

from __future__ import annotations

import json

import pytest

from traindx.finding import Standing
from traindx.rules.state.c1107_config_key_never_read import tunes

TRAIN = """
    import json
    from dataclasses import dataclass
    from types import SimpleNamespace

    import torch
    from torch import nn

    with open("FILE") as file:
        config = json.load(file)

    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    READ
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for step in range(epochs):
        x = torch.randn(8, 4)
        opt.zero_grad()
        (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
        opt.step()
"""
PLAIN = 'lr, epochs = config["lr"], config["epochs"]'
SETTINGS = {"lr": 0.01, "epochs": 20, "name": "run"}


@pytest.mark.parametrize("key", ["separate", "registry", "schema", "generate", "region", "stemmed", "collagen"])
def test_a_word_within_a_word_tunes_nothing(key):
    assert not tunes(key)


@pytest.mark.parametrize("key", ["lr", "loss.surface_weight", "emaDecay", "clip_norm", "optim.lr_scheduler", "beta2"])
def test_words_that_tune(key):
    assert tunes(key)


def said(script, settings, read=PLAIN, file="config.json"):
    with open(file, "w", encoding="utf-8") as out:  # the fixture has changed to a folder of its own
        json.dump(settings, out)
    seen = script(TRAIN.replace("FILE", file).replace("READ", read))
    assert seen.diagnosis.errors == ()
    return seen.found("C1107")


@pytest.mark.parametrize("file", ["config.json", "run7.json"])
def test_a_weight_that_nothing_asks_for_is_suspected_whatever_the_file_is_called(script, file):
    (finding,) = said(script, {**SETTINGS, "edge_weight": 0.5}, file=file)
    assert finding.standing is Standing.SUSPECTED
    assert "edge_weight" in finding.message


@pytest.mark.parametrize(
    "read",
    [
        "hp = SimpleNamespace(**config)\n    lr, epochs, weight = hp.lr, hp.epochs, hp.edge_weight",
        PLAIN + "\n    rest = {key: value for key, value in config.items() if key not in ('lr', 'epochs')}",
        PLAIN
        + "\n    hp = SimpleNamespace(edge_weight=0)\n    vars(hp).update(json.loads(json.dumps(config)))"
        + "\n    print(hp.edge_weight)",
    ],
    ids=["a namespace", "handed on in bulk", "an attribute, by way of a copy"],
)
def test_keys_that_are_read_another_way_are_left_alone(script, read):
    assert said(script, {**SETTINGS, "edge_weight": 0.5}, read) == []


def test_a_name_that_only_holds_a_telling_word_is_left_alone(script):
    assert said(script, {**SETTINGS, "separate": True, "schema": 2, "registry": 1}) == []

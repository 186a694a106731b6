"""What a network made is no data, also where the same line runs without gradients."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from traindx.evidence.observed_items import StageInputs
from watch.inside import found, watched


def test_a_line_that_is_given_what_a_network_made_is_left_alone_in_validation_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder, decoder = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 2, 3, padding=1)

    def round_trip(maps: torch.Tensor) -> torch.Tensor:
        code = encoder(maps)
        return encoder(decoder(code) + 3.0) - code

    def script() -> None:
        optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], 1e-3)
        for _ in range(3):
            for _ in range(8):
                encoder.train()
                maps = torch.randn(8, 2, 256)
                maps = (maps - maps.mean((1, 2), keepdim=True)) / maps.std((1, 2), keepdim=True)
                optimizer.zero_grad()
                round_trip(maps).pow(2).mean().backward()
                optimizer.step()
            encoder.eval()
            with torch.no_grad():
                for _ in range(4):
                    maps = torch.randn(8, 2, 256)
                    round_trip((maps - maps.mean((1, 2), keepdim=True)) / maps.std((1, 2), keepdim=True))

    evidence = watched(script, tmp_path)
    assert {one.network for one in evidence.of(StageInputs)} == {"Conv1d"}
    assert all(abs(one.mean) < 0.5 for one in evidence.of(StageInputs))
    assert found("M214", evidence) == []

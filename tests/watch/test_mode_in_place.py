"""Our function mode is in place once in watched iterations, and not at all in others, whatever ends an iteration."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from watch.inside import watching


def depth() -> int:
    return int(torch._C._len_torch_function_stack())


@pytest.mark.parametrize("steps", [True, False], ids=["steps of an optimiser", "backward passes alone"])
@pytest.mark.parametrize("loads", [True, False], ids=["batches of a loader", "batches at hand"])
def test_one_mode_where_it_is_watched_and_none_elsewhere(steps: bool, loads: bool, tmp_path: Path) -> None:
    net = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    loader = DataLoader(TensorDataset(torch.randn(160, 4)), batch_size=1)
    batches = loader if loads else [(torch.randn(1, 4),) for _ in range(160)]
    seen: set[tuple[bool, int]] = set()
    with watching(tmp_path) as watch:
        for (x,) in batches:
            if watch._begun:
                seen.add((watch.attached, depth()))
            net(x).square().mean().backward()
            if steps:
                optimizer.step()
                optimizer.zero_grad()
    assert depth() == 0
    assert (True, 1) in seen
    assert {found for watched, found in seen if watched} == {1}
    if steps or loads:
        assert {found for watched, found in seen if not watched} <= {0}


def test_a_watch_that_moves_to_another_thread_has_its_mode_there(tmp_path: Path) -> None:
    """As where the training runs in a thread of its own: every thread has modes of its own."""
    seen: list[tuple[bool, bool, int, int]] = []
    with watching(tmp_path) as watch:
        watch.start()
        assert (watch.attached, depth()) == (True, 1)

        def train() -> None:
            before = depth()
            seen.append((watch.move_to_this_thread(), watch.attached, before, depth()))
            watch.detach()
            assert depth() == 0

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        torch.set_default_device(None)
        while depth():  # what is left in this thread, which the watch has gone from
            torch.overrides._pop_mode()
    assert seen == [(True, True, 0, 1)]

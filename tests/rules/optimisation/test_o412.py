"""O412: gradients left over at the end of a pass, against passes that end in the middle of a step and lose nothing."""

from __future__ import annotations

from traindx.finding import Standing

HEAD = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    x = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=True)  # 10 batches
    net = nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)

    def cycle(batches):
        while True:
            yield from batches

    def ahead(batches):
        \"\"\"One batch early, as prefetching loaders read.\"\"\"
        waiting = None
        for batch in batches:
            if waiting is not None:
                yield waiting
            waiting = batch
        yield waiting
"""


def test_a_remainder_that_goes_into_the_next_pass_is_demonstrated(script):
    seen = script(
        HEAD
        + """
    for epoch in range(5):
        for i, (a, b) in enumerate(loader):
            (net(a) - b).square().mean().backward()
            if (i + 1) % 4 == 0:
                opt.step()
                opt.zero_grad()
    """
    )
    (finding,) = seen.found("O412")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["carried_over"] == 4  # the first step of every pass but the first


def test_an_endless_loader_leaves_nothing_over(script):
    seen = script(
        HEAD
        + """
    batches = cycle(loader)
    for step in range(20):
        for _ in range(4):
            a, b = next(batches)
            (net(a) - b).square().mean().backward()
        opt.step()
        opt.zero_grad()
    """
    )
    assert seen.found("O412") == []


def test_a_loader_that_looks_ahead_ends_its_pass_before_the_last_batch_is_used(script):
    seen = script(
        HEAD
        + """
    for epoch in range(6):
        for i, (a, b) in enumerate(ahead(loader)):
            (net(a) - b).square().mean().backward()
            if (i + 1) % 5 == 0:
                opt.step()
                opt.zero_grad()
    """
    )
    assert seen.found("O412") == []
    assert seen.diagnosis.errors == ()

"""Validations, helpers, threads and processes: told by what happens to an output, and said where it was not seen."""

from __future__ import annotations

import pytest

from traindx.evidence import Action
from traindx.evidence.observed import Ending, IterationsSeen, NetworkCalls
from traindx.host.forecasting import loss_forecast

HEAD = """
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 16), nn.Dropout(0.1), nn.Linear(16, 4))

    class Teacher(Net):
        pass

    net, teacher = Net(), Teacher().eval()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
"""

LOOP = """
    for step in range(40):
        x = torch.randn(8, 4)
        loss = F.mse_loss(net(x), x)  # training
        opt.zero_grad()
        loss.backward()
        opt.step()
"""

VALIDATION = """
        if step % EVERY == EVERY - 1:
            net.eval()
            with torch.no_grad():
                figure = F.mse_loss(net(x), x).item()  # validation
            net.train()
"""


def phases(seen) -> dict[int, str]:
    return {call.where.line: call.phase for call in seen.of(NetworkCalls)}


@pytest.mark.parametrize("every", [1, 2, 20])
def test_a_validation_is_one_however_often_it_takes_place(script, every):
    seen = script(HEAD + LOOP + VALIDATION.replace("EVERY", str(every)))
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# validation"): "validation"}
    assert "validation" not in {one.subject for one in seen.diagnosis.not_examined}


@pytest.mark.parametrize("every", [2, 11])  # 11: the backward passes that follow are not watched
def test_a_validation_that_forgot_no_grad_is_one_all_the_same(script, every):
    validation = VALIDATION.replace("EVERY", str(every)).replace("torch.no_grad()", "torch.enable_grad()")
    seen = script(HEAD + LOOP + validation)
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# validation"): "validation"}


def test_training_in_evaluation_mode_is_no_validation(script):
    """Near miss: every eleventh step is taken in evaluation mode, as with frozen statistics."""
    again = """
        if step % 11 == 10:
            net.eval()
            opt.zero_grad()
            F.mse_loss(net(x), x).backward()  # also training
            opt.step()
            net.train()
    """
    seen = script(HEAD + LOOP + again)
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# also training"): "training"}


HELPERS = {
    "in the loss": """
        with torch.no_grad():
            wanted = teacher(x)  # helper
        loss = F.mse_loss(net(x), wanted)  # training
    """,
    "as a label": """
        with torch.no_grad():
            wanted = teacher(x).softmax(1).max(1)[1]  # helper
        loss = F.cross_entropy(net(x), wanted)  # training
    """,
    "as an input": """
        with torch.no_grad():
            features = 2 * teacher(x)  # helper
        loss = F.mse_loss(net(features), x)  # training
    """,
    "in places": """
        wanted = torch.zeros(8, 4)
        with torch.no_grad():
            wanted[:4] = teacher(x[:4])  # helper
        loss = F.mse_loss(net(x), wanted)  # training
    """,
}


@pytest.mark.parametrize("use", HELPERS.values(), ids=HELPERS)
@pytest.mark.parametrize("every", [1, 2])
def test_a_helper_is_told_by_where_its_output_goes(script, use, every):
    loop = LOOP.replace("    loss = F.mse_loss(net(x), x)  # training\n", f"    pass{use.rstrip()}\n")
    assert "# helper" in loop
    if every == 2:
        loop = loop.replace("for step in range(40):", "for step in range(0, 40, 2):")
    seen = script(HEAD + loop)
    assert seen.diagnosis.errors == ()
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# helper"): "auxiliary"}


def test_transforms_that_are_modules_use_up_nothing(script):
    """48 network calls of a validation are looked at; a hundred transforms before each are no networks."""
    tail = """
        if step == 20:
            flip = nn.Identity()
            net.eval()
            with torch.no_grad():
                for case in range(10):
                    for _ in range(100):
                        x = flip(x)
                    net(x)  # validation
            net.train()
    """
    seen = script(HEAD + LOOP + tail)
    (call,) = [one for one in seen.of(NetworkCalls) if one.phase == "validation"]
    assert call.calls == 10


def test_a_script_that_ended_by_itself_needs_no_longer_window(script):
    seen = script(HEAD + LOOP)
    (note,) = [one for one in seen.diagnosis.not_examined if one.subject == "validation"]
    assert note.action is Action.NOTHING


def test_a_window_that_ended_may_be_made_longer(script):
    seen = script(HEAD + LOOP, steps=20)
    (note,) = [one for one in seen.diagnosis.not_examined if one.subject == "validation"]
    assert note.action is Action.WATCH


def test_a_run_that_went_on_after_its_window_is_not_over(script):
    """Neither a forecast nor a schedule may take what was seen for all there was."""
    seen = script(HEAD + LOOP + "    print('done')\n", steps=20, stop=False)
    assert "done" in seen.output
    assert seen.run.ending is Ending.FINISHED
    assert seen.run.window_ended
    (note,) = [one for one in seen.diagnosis.not_examined if one.subject == "validation"]
    assert note.action is Action.WATCH
    assert loss_forecast(seen.evidence) is None


def test_training_in_a_thread_is_seen(script):
    loop = "\n".join(f"    {line}" if line.strip() else line for line in LOOP.splitlines())
    source = f"""
    import threading
{HEAD}
    def train():
{loop}

    worker = threading.Thread(target=train)
    worker.start()
    worker.join()
    """
    seen = script(source)
    assert seen.diagnosis.errors == ()
    assert seen.one(IterationsSeen).iterations == 40
    assert phases(seen) == {seen.line("# training"): "training"}


def test_training_in_a_second_thread_is_said_to_be_elsewhere(script):
    loop = "\n".join(f"    {line}" if line.strip() else line for line in LOOP.splitlines())
    source = f"""
    import threading
{HEAD}
    def train():
{loop}

    train()
    worker = threading.Thread(target=train, name="second")
    worker.start()
    worker.join()
    """
    seen = script(source)
    assert seen.one(IterationsSeen).iterations == 40
    assert "backward passes in thread second" in {one.subject for one in seen.diagnosis.not_examined}


def test_processes_without_a_group_are_said_to_be_elsewhere(script):
    """Hogwild: several processes train one network in shared memory."""
    loop = "\n".join(f"    {line}" if line.strip() else line for line in LOOP.splitlines())
    source = f"""
    import torch.multiprocessing as mp
{HEAD}
    def train(rank, net):
        opt = torch.optim.SGD(net.parameters(), lr=1e-3)
{loop}

    if __name__ == "__main__":
        net.share_memory()
        workers = [mp.get_context("fork").Process(target=train, args=(rank, net)) for rank in range(2)]
        for worker in workers:
            worker.start()  # HERE
        for worker in workers:
            worker.join()
    """
    seen = script(source)
    (training,) = [one for one in seen.diagnosis.not_examined if one.subject == "training"]
    assert f":{seen.line('# HERE')}" in training.reason
    assert [one for one in seen.diagnosis.not_examined if one.subject.startswith("a process started at")]


def test_processes_that_spawn_starts_without_a_group_are_said_to_be_elsewhere(watch):
    seen = watch(
        """
        import torch
        import torch.multiprocessing as mp
        from torch import nn

        def train(rank, net):
            opt = torch.optim.SGD(net.parameters(), lr=1e-3)
            for step in range(5):
                opt.zero_grad()
                net(torch.randn(4, 4)).square().mean().backward()
                opt.step()

        if __name__ == "__main__":
            net = nn.Linear(4, 1)
            net.share_memory()
            mp.spawn(train, args=(net,), nprocs=1)  # HERE
        """
    )
    assert seen.diagnosis.errors == ()
    (training,) = [one for one in seen.diagnosis.not_examined if one.subject == "training"]
    assert "train.py:15" in training.reason


BAGS = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x, label=None):
            return self.head(self.body(x).relu().mean(0, keepdim=True))

    bags = [(torch.randn(20, 4), index % 2) for index in range(40)]
    train = torch.utils.data.DataLoader(bags, batch_size=None)
    held_out = torch.utils.data.DataLoader(bags[:12], batch_size=None)
    net = Bag()
    opt = torch.optim.SGD(net.parameters(), lr=1e-2)
    for epoch in range(2):
        net.train()
        for x, y in train:
            loss = nn.functional.cross_entropy(net(x, label=y), torch.tensor([y]))  # training
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.inference_mode():
            for x, y in held_out:
                nn.functional.cross_entropy(net(x, label=y), torch.tensor([y]))  # validation
"""


def test_a_label_that_the_network_is_given_is_no_time(script):
    """It changes from batch to batch; the time of a sampler changes between calls on one batch."""
    seen = script(BAGS)
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# validation"): "validation"}


ONE_PASS = """
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    opt = torch.optim.SGD(net.parameters(), lr=1e-2)
    x = torch.randn(96, 4)
    data = torch.utils.data.TensorDataset(x, x[:, :1])
    train = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    held_out = torch.utils.data.DataLoader(torch.utils.data.Subset(data, range(48)), batch_size=8)
    for epoch in range(2):
        net.train()
        for a, b in train:
            loss = nn.functional.mse_loss(net(a), b)  # training
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch == 0:
            net.eval()
            total = 0
            for a, b in held_out:
                total = total + nn.functional.mse_loss(net(a), b)  # validation
"""


def test_one_pass_over_held_out_data_is_a_validation_with_gradients_as_well(script):
    seen = script(ONE_PASS)
    assert phases(seen) == {seen.line("# training"): "training", seen.line("# validation"): "validation"}

"""A run under observation gives the same weights, bit by bit, and prints the same, as a run without."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_loss import LossTermSeen

STYLES = """
    import hashlib, random
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.checkpoint import checkpoint
    from torch.utils.data import DataLoader, Dataset

    def say(style, *modules):
        digest = hashlib.sha256()
        for module in modules:
            for value in module.state_dict().values():
                digest.update(value.detach().contiguous().numpy().tobytes())
        digest.update(torch.get_rng_state().numpy().tobytes())
        digest.update(repr(random.getstate()).encode())
        digest.update(repr(np.random.get_state()).encode())
        print(style, digest.hexdigest())

    def net():
        return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2),
                             nn.Conv2d(6, 1, 3, padding=1))

    def seed():
        torch.manual_seed(7); random.seed(7); np.random.seed(7)

    def raw_loop():
        model = net()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(8):
            x = torch.rand(4, 1, 12, 12)
            y = model(x).sigmoid().clamp(0.01, 0.99)
            l1 = F.l1_loss(y, x)
            smooth = (y[..., 1:] - y[..., :-1]).abs().mean()
            loss = l1 + 0.1 * smooth
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % 4 == 3:
                model.eval()
                with torch.no_grad():
                    F.mse_loss(model(x), x).item()
                model.train()
        say("raw", model)

    def gan():
        generator, critic = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(), nn.Linear(8, 1))
        g = torch.optim.Adam(generator.parameters(), 1e-3)
        d = torch.optim.Adam(critic.parameters(), 1e-3)
        for _ in range(8):
            fake = generator(torch.randn(6, 4))
            d.zero_grad()
            loss = F.softplus(-critic(torch.randn(6, 8))).mean() + F.softplus(critic(fake.detach())).mean()
            loss.backward()
            d.step()
            g.zero_grad()
            F.softplus(-critic(fake)).mean().backward()
            g.step()
        say("gan", generator, critic)

    def accumulation():
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
        for step in range(12):
            x = torch.rand(2, 1, 12, 12)
            (F.mse_loss(model(x), x) / 3).backward()
            if step % 3 == 2:
                optimizer.step()
                optimizer.zero_grad(set_to_none=False)
                schedule.step()
        say("accumulation", model)

    def amp():
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
        for _ in range(8):
            x = torch.rand(2, 1, 12, 12)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.mse_loss(model(x).float(), x) + 0.5 * F.l1_loss(model(x).float(), x)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        say("amp", model)

    def checkpointed():
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(8):
            x = torch.rand(2, 1, 12, 12, requires_grad=True)
            out = checkpoint(model, x, use_reentrant=False)
            loss = F.mse_loss(out, x.detach()) + 0.1 * out.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        say("checkpointed", model)

    class Noisy(Dataset):
        def __len__(self):
            return 24
        def __getitem__(self, index):
            x = torch.full((1, 12, 12), index / 24) + 0.1 * torch.randn(1, 12, 12)
            if random.random() < 0.5:
                x = x.flip(-1)
            return x + float(np.random.rand())

    def workers():
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        loader = DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2)
        for _ in range(2):
            for x in loader:
                optimizer.zero_grad()
                F.mse_loss(model(x), x).backward()
                optimizer.step()
        say("workers", model)

    def closure():
        model = nn.Linear(5, 1)
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
        x, y = torch.randn(16, 5), torch.randn(16, 1)
        def evaluate():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y) + 1e-3 * model.weight.square().sum()
            loss.backward()
            return loss
        for _ in range(4):
            optimizer.step(evaluate)
        say("closure", model)

    def penalty():
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(8):
            x = torch.randn(8, 5, requires_grad=True)
            out = model(x)
            slope = torch.autograd.grad(out.sum(), x, create_graph=True)[0]
            loss = out.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        say("penalty", model)

    if __name__ == "__main__":
        for style in (raw_loop, gan, accumulation, amp, checkpointed, workers, closure, penalty):
            seed()
            style()
"""

LIGHTNING = """
    import hashlib
    import lightning as L
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Grader(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(),
                                     nn.Linear(4 * 36, 3))

        def training_step(self, batch, index):
            x, y = batch
            return F.cross_entropy(self.net(x), y) + 1e-3 * self.net[-1].weight.square().sum()

        def validation_step(self, batch, index):
            self.log("val", F.cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    L.seed_everything(1, verbose=False)
    data = TensorDataset(torch.randn(48, 1, 8, 8), torch.randint(0, 3, (48,)))
    model = Grader()
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(model, DataLoader(data, 8, shuffle=True), DataLoader(data, 8))
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    digest.update(torch.get_rng_state().numpy().tobytes())
    print(digest.hexdigest())
"""

ENGINE = """
    import hashlib
    import torch
    from monai.data import DataLoader, Dataset
    from monai.engines import SupervisedEvaluator, SupervisedTrainer
    from monai.handlers import ValidationHandler
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet
    from monai.utils import set_determinism

    set_determinism(0)
    items = [{"image": torch.randn(1, 16, 16), "label": (torch.rand(1, 16, 16) > 0.5).float()} for _ in range(12)]
    net = UNet(2, 1, 1, (4, 8), (2,), dropout=0.1)
    device = torch.device("cpu")
    evaluator = SupervisedEvaluator(device=device, val_data_loader=DataLoader(Dataset(items), 4), network=net)
    loader = DataLoader(Dataset(items), 4, shuffle=True)
    trainer = SupervisedTrainer(device=device, max_epochs=2, train_data_loader=loader,
                                network=net, optimizer=torch.optim.Adam(net.parameters(), 1e-2),
                                loss_function=DiceLoss(sigmoid=True),
                                train_handlers=[ValidationHandler(interval=1, validator=evaluator)])
    trainer.run()
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.numpy().tobytes())
    digest.update(torch.get_rng_state().numpy().tobytes())
    print(digest.hexdigest())
"""

TRANSFORMERS = """
    import hashlib
    import torch
    from torch import nn
    from transformers import Trainer, TrainingArguments

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
            self.loss = nn.CrossEntropyLoss()

        def forward(self, x, labels=None):
            logits = self.layers(x)
            return {"loss": self.loss(logits, labels), "logits": logits}

    if __name__ == "__main__":
        torch.manual_seed(3)
        data = [{"x": torch.randn(6), "labels": torch.tensor(i % 3)} for i in range(40)]
        model = Net()
        arguments = TrainingArguments("OUT", max_steps=8, per_device_train_batch_size=5, report_to=[], seed=1,
                                      save_strategy="no", disable_tqdm=True, use_cpu=True, learning_rate=1e-2,
                                      logging_strategy="no")
        Trainer(model=model, args=arguments, train_dataset=data).train()
        digest = hashlib.sha256()
        for value in model.state_dict().values():
            digest.update(value.numpy().tobytes())
        print(digest.hexdigest())
"""


def hashes(stdout: bytes) -> list[str]:
    """What was printed, without the Trainer's own line of running times."""
    return [line for line in stdout.decode().splitlines() if not line.startswith("{'train_runtime'")]


@pytest.mark.parametrize("every", [1, 0], ids=["every iteration in full", "the usual schedule"])
def test_raw_styles_end_in_the_same_bits(write, watch, plain, every):
    script = write(STYLES)
    unwatched = plain(script)
    assert unwatched.returncode == 0, unwatched.stderr.decode()
    watched = watch(script, every=every, steps=0, seconds=0.0)
    assert watched.run.exit_code == 0
    assert len(hashes(watched.stdout)) == 8
    assert watched.stdout == unwatched.stdout
    assert not watched.diagnosis.errors
    if every:  # it was really looked at, and closely: gradients of single terms were taken apart
        assert watched.one(IterationsSeen).watched >= 8
        assert any(term.gradient_norms for term in watched.of(LossTermSeen))


@pytest.mark.parametrize(
    ("source", "packages"),
    [
        pytest.param(LIGHTNING, ("lightning",), id="lightning"),
        pytest.param(ENGINE, ("monai", "ignite"), id="monai engine", marks=pytest.mark.slow),
        pytest.param(TRANSFORMERS, ("transformers", "accelerate"), id="transformers", marks=pytest.mark.slow),
    ],
)
def test_trainers_end_in_the_same_bits(write, watch, plain, source, packages, tmp_path):
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    script = write(source.replace("OUT", str(tmp_path / "trainer")))
    unwatched = plain(script)
    assert unwatched.returncode == 0, unwatched.stderr.decode()
    watched = watch(script, every=1, steps=0, seconds=0.0)
    assert hashes(watched.stdout) == hashes(unwatched.stdout)
    assert watched.one(IterationsSeen).iterations >= 6
    assert not watched.diagnosis.errors

"""Whole trainings in the styles of the field, and libraries with tensors of their own."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import math
import threading
import weakref
from typing import Any

import torch
import torch.nn.functional as F
from kit import batch, bits, main, net, seed, show
from torch import nn


def segmentation() -> None:
    """a U-shaped network with Dice and cross-entropy, validation and sliding windows"""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Conv2d(1, 6, 3, 2, 1), nn.ConvTranspose2d(6, 6, 2, 2)
            self.norm, self.out = nn.BatchNorm2d(6), nn.Conv2d(7, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.cat([x, self.up(self.norm(self.down(x)).relu())], 1))

    model = Small()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(8):
        x = torch.rand(2, 1, 16, 16)
        y = (x[:, 0] > 0.5).long()
        out = model(x)
        p = out.softmax(1)[:, 1]
        dice = 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)
        loss = F.cross_entropy(out, y) + dice
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 3 == 2:
            model.eval()
            with torch.no_grad():
                volume, whole = torch.rand(1, 1, 32, 16), torch.zeros(1, 2, 32, 16)
                for start in range(0, 17, 8):
                    whole[:, :, start : start + 16] += model(volume[:, :, start : start + 16]).softmax(1)
                print(bits(whole), int(whole.argmax(1).sum()))
            model.train()
    show(model)


def diffusion() -> None:
    """a denoising diffusion model, an average of its weights, and sampling in between"""

    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 4))

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.layers(torch.cat([x, t[:, None].float() / 20], 1))

    model = Denoiser()
    average = copy.deepcopy(model).eval()
    bars = torch.cos(torch.linspace(0, math.pi / 2.2, 20)).square()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(8):
        x, t, noise = torch.randn(8, 4), torch.randint(0, 20, (8,)), torch.randn(8, 4)
        a = bars[t][:, None]
        loss = F.mse_loss(model(a.sqrt() * x + (1 - a).sqrt() * noise, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
            if step % 4 == 3:
                x = torch.randn(4, 4)
                for i in reversed(range(20)):
                    guess = average(x, torch.full((4,), i))
                    x = (x - 0.05 * guess).clamp(-3, 3) + (0.05 * torch.randn_like(x) if i else 0)
                print(bits(x))
    show(model, average)


def variational() -> None:
    """a variational autoencoder with an annealed weight"""
    encoder, decoder = nn.Linear(6, 8), nn.Linear(4, 6)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-2)
    for step in range(8):
        x = torch.rand(8, 6)
        mean, log = encoder(x).chunk(2, 1)
        z = mean + (0.5 * log).exp() * torch.randn_like(mean)
        fit = F.binary_cross_entropy(decoder(z).sigmoid(), x, reduction="sum") / len(x)
        kl = -0.5 * (1 + log - mean.square() - log.exp()).sum(1).mean()
        optimizer.zero_grad()
        (fit + min(1.0, step / 4) * kl).backward()
        optimizer.step()
        print(fit.item(), kl.item())
    show(encoder, decoder)


def reinforcement() -> None:
    """policy gradients: episodes of changing length, distributions, rewards"""
    policy = nn.Linear(4, 2)
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(8):
        state, logs, rewards = torch.randn(4), [], []
        for _step in range(int(torch.randint(2, 8, ()))):
            choice = torch.distributions.Categorical(logits=policy(state))
            action = choice.sample()
            logs.append(choice.log_prob(action))
            rewards.append(float(action) - 0.3)
            state = state.roll(1) + 0.1 * torch.randn(4)
        total = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
        loss = -(torch.stack(logs) * (total - total.mean())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(len(rewards), loss.item())
    show(policy)


def contrastive() -> None:
    """contrastive learning with a queue and a momentum encoder"""
    encoder = nn.Linear(6, 8)
    slow = copy.deepcopy(encoder).requires_grad_(False)
    memory = F.normalize(torch.randn(32, 8))
    optimizer = torch.optim.SGD(encoder.parameters(), 0.1)
    for _ in range(8):
        x = torch.randn(8, 6)
        q = F.normalize(encoder(x + 0.1 * torch.randn_like(x)), dim=1)
        with torch.no_grad():
            for a, b in zip(slow.parameters(), encoder.parameters(), strict=True):
                a.mul_(0.9).add_(b, alpha=0.1)
            k = F.normalize(slow(x), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ memory.T], 1) / 0.1
        loss = F.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        memory = torch.cat([k, memory])[:32]
    show(encoder, slow, memory)


def distillation() -> None:
    """a teacher in evaluation in every step, a student with two terms"""
    teacher, student = net().eval(), nn.Linear(6, 3)
    optimizer = torch.optim.SGD(student.parameters(), 0.1)
    for _ in range(8):
        x, y = batch()
        with torch.no_grad():
            wanted = (teacher(x) / 2).softmax(1)
        out = student(x)
        loss = 0.7 * F.kl_div((out / 2).log_softmax(1), wanted, reduction="batchmean") * 4
        loss = loss + 0.3 * F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(student, teacher)


def implicit_shape() -> None:
    """a coordinate network, second derivatives in the loss"""
    model = nn.Sequential(nn.Linear(2, 16), nn.Softplus(beta=5), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(6):
        x = torch.rand(16, 2, requires_grad=True)
        u = model(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        second = sum(torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2))
        loss = (second - x.sin().sum(1)).square().mean() + u[:4].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model)


def registration() -> None:
    """deformable registration: `grid_sample`, smoothness, a loss per level"""
    model = nn.Conv2d(2, 2, 3, padding=1)
    nn.init.normal_(model.weight, std=1e-2)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, 12, 12], align_corners=False)
    for _ in range(6):
        fixed, moving = torch.rand(1, 1, 12, 12), torch.rand(1, 1, 12, 12)
        flow = model(torch.cat([fixed, moving], 1)).permute(0, 2, 3, 1)
        warped = F.grid_sample(moving, grid + flow, align_corners=False)
        smooth = sum(flow.diff(dim=axis).square().mean() for axis in (1, 2))
        loss = sum(F.mse_loss(F.avg_pool2d(warped, k), F.avg_pool2d(fixed, k)) / k for k in (1, 2, 4)) + 0.1 * smooth
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    show(model)


def trained_in_a_thread() -> None:
    """the whole training runs in a thread of the script's"""
    models = []

    def work() -> None:
        model, (x, y) = net(), batch()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        models.append(model)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    show(*models)


def trained_in_two_threads() -> None:
    """two trainings take turns in two threads"""
    turn, models = threading.Barrier(2), {}

    def work(number: int) -> None:
        model = nn.Linear(6, 3)
        nn.init.constant_(model.weight, 0.1 * (number + 1))
        nn.init.zeros_(model.bias)
        x, y = torch.arange(48.0).view(8, 6) / 48, torch.arange(8) % 3
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(6):
            turn.wait()
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        models[number] = model

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show(models[0], models[1])


def trained_in_a_coroutine() -> None:
    """an asynchronous loop with context variables"""
    step_number = contextvars.ContextVar("step_number", default=0)

    async def work() -> nn.Module:
        model, (x, y) = net(), batch()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for step in range(6):
            step_number.set(step)
            await asyncio.sleep(0)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            await asyncio.sleep(0)
            optimizer.step()
        print(step_number.get())
        return model

    show(asyncio.run(work()))


def trained_by_a_generator() -> None:
    """a training that is a generator, and is given up in the midst"""

    def work() -> Any:
        model, (x, y) = net(), batch()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        try:
            while True:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                yield model
        finally:
            print("given up")

    steps = work()
    for _ in range(6):
        model = next(steps)
    steps.close()
    show(model)


def keyboard_interrupt_of_ones_own() -> None:
    """the script ends its loop by exceptions of its own, `KeyboardInterrupt` among them"""

    class Enough(BaseException):
        pass

    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    ended = []
    for reason in (KeyboardInterrupt, Enough, StopIteration, GeneratorExit):
        try:
            for step in range(9):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                if step == 3:
                    raise reason
        except BaseException as error:
            ended.append(type(error).__name__)
    show(model, ended=ended)


def evaluation_only() -> None:
    """inference only: no gradient, no optimiser, many passes"""
    model = net().eval()
    with torch.inference_mode():
        for _ in range(40):
            out = model(torch.randn(8, 6)).softmax(1).clamp(0.01, 0.99)
    show(model, out=out.clone())


def cross_validation() -> None:
    """folds: a new network, optimiser and loader each, the seed set each time"""
    scores = []
    for fold in range(4):
        seed(fold)
        model, (x, y) = net(), batch(16)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        chosen = torch.arange(16) % 4 != fold
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores.append(F.cross_entropy(model(x[~chosen]), y[~chosen]).item())
    show(scores)


def meta_tensors() -> None:
    """MONAI: a pipeline of `MetaTensor`s, whose metadata and history of transforms are kept"""
    from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.losses import DiceCELoss
    from monai.metrics import DiceMetric
    from monai.networks.nets import UNet
    from monai.transforms import AsDiscrete, Compose, EnsureChannelFirstd, RandFlipd, ScaleIntensityd

    items = [{"image": torch.rand(16, 16), "label": (torch.rand(16, 16) > 0.5).float()} for _ in range(8)]
    steps = Compose(
        [
            EnsureChannelFirstd(["image", "label"], channel_dim="no_channel"),
            ScaleIntensityd("image"),
            RandFlipd(["image", "label"], prob=0.5),
        ]
    )
    steps.set_random_state(3)
    loader = DataLoader(Dataset(items, steps), 2)
    model, loss = UNet(2, 1, 2, (4, 8), (2,)), DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    metric, after = DiceMetric(), AsDiscrete(argmax=True, to_onehot=2)
    for _ in range(2):
        for item in loader:
            out = model(item["image"])
            value = loss(out, item["label"])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            whole = sliding_window_inference(item["image"], (8, 8), 4, model, overlap=0.25)
            metric(
                [after(one) for one in decollate_batch(whole)], [AsDiscrete(to_onehot=2)(one) for one in item["label"]]
            )
        model.train()
        print(metric.aggregate().item())
    print(type(out).__name__, type(value).__name__, type(whole).__name__, isinstance(item["image"], MetaTensor))
    print(item["image"].meta.keys(), [str(step["class"]) for step in item["image"].applied_operations[0]])
    show(model, image=item["image"])


def subjects() -> None:
    """TorchIO: subjects with their history of transforms"""
    import torchio as tio
    from torch.utils.data import DataLoader

    torch.manual_seed(3)
    items = [
        tio.Subject(
            image=tio.ScalarImage(tensor=torch.rand(1, 8, 8, 8)),
            label=tio.LabelMap(tensor=(torch.rand(1, 8, 8, 8) > 0.5).float()),
        )
        for _ in range(4)
    ]
    data = tio.SubjectsDataset(items, tio.Compose([tio.RandomFlip(axes=(0, 1)), tio.RescaleIntensity((0, 1))]))
    model = nn.Conv3d(1, 2, 3, padding=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for subject in DataLoader(data, None):
        out = model(subject["image"].data[None].float())
        optimizer.zero_grad()
        F.cross_entropy(out, subject["label"].data.long()).backward()
        optimizer.step()
    print(type(data[0]).__name__, [step.name for step in data[0].history])
    show(model)


def metrics_kept() -> None:
    """torchmetrics: modules that redefine comparison, updated in every step"""
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

    metrics = MetricCollection([MulticlassAccuracy(3), MulticlassF1Score(3)])
    model, (x, y) = net(), batch()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        out = model(x)
        optimizer.zero_grad()
        F.cross_entropy(out, y).backward()
        optimizer.step()
        show(metrics(out.softmax(1), y))
    show(metrics.compute())


def tensor_dictionaries() -> None:
    """TensorDict: batches that are dictionaries and tensors at once"""
    try:
        from tensordict import TensorDict
    except ImportError:
        print("not installed")
        return
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(6):
        x, y = batch()
        item = TensorDict({"x": x, "y": y}, batch_size=[8])
        optimizer.zero_grad()
        F.cross_entropy(model(item["x"]), item["y"]).backward()
        optimizer.step()
    show(model, kind=type(item[:3]).__name__)


def simulated_device_reads() -> None:
    """nothing but the script reads values: a device that counts `item`, `tolist`, `cpu` and `nonzero`"""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Device(TorchDispatchMode):
        reads: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if str(func) in ("aten._local_scalar_dense.default", "aten.nonzero.default", "aten._to_copy.default"):
                Device.reads.append(str(func))
            return func(*args, **(kwargs or {}))

    model, (x, y) = net(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with Device():
        for _ in range(12):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    show(model, reads=Device.reads)


def its_own_local_names() -> None:
    """a dictionary of `locals()` that is kept as the configuration, and tensors that live as long as their names"""
    width, rate, epochs = 6, 0.1, 3
    config = locals()
    model, (x, y) = net(width), batch()
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for epoch in range(epochs):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(epoch, sorted(config))

    def train(count: int) -> list[bool]:
        alive = []
        for _ in range(count):
            optimizer.zero_grad()
            out = model(x)
            last = weakref.ref(out)
            F.cross_entropy(out, y).backward()
            optimizer.step()
            del out
            alive.append(last() is not None)
        return alive

    show(model, alive=train(6), names=sorted(config))


if __name__ == "__main__":
    main()

"""What ``overhead.py`` trains: a function each that builds everything and returns one that takes so many steps.

None is copied from anywhere; the named ones follow the manner of well-known programs: their loaders, containers, loops
and libraries, at a size that takes some tens of milliseconds a step on one core.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

Train = Callable[[int], None]


def repeated(step: Callable[[], None]) -> Train:
    """Take a step as often as asked."""

    def train(count: int) -> None:
        for _ in range(count):
            step()

    return train


def conv3d() -> Train:
    """Segmentation of 40-voxel patches with a small 3D U-Net, Dice and cross entropy, on plain tensors."""
    import torch
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    net = UNet(3, 1, 3, channels=(16, 32, 64), strides=(2, 2), num_res_units=1)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    dice = DiceLoss(softmax=True, to_onehot_y=True)

    def step() -> None:
        image, label = torch.randn(2, 1, 40, 40, 40), torch.randint(0, 3, (2, 1, 40, 40, 40))
        optimizer.zero_grad()
        logits = net(image)
        loss = dice(logits, label) + torch.nn.functional.cross_entropy(logits, label[:, 0])
        loss.backward()
        optimizer.step()

    return repeated(step)


def _monai(dims: int, size: int, patch: int, batch: int, channels: tuple[int, ...]) -> Train:
    """MetaTensors out of a cached data set of dictionaries, random transforms, MONAI's loader, U-Net and Dice loss."""
    import numpy as np
    import torch
    from monai import transforms
    from monai.data import CacheDataset, DataLoader
    from monai.losses import DiceLoss
    from monai.networks.nets import UNet

    draw = np.random.default_rng(0)
    masks = [(draw.random((size,) * dims) > 0.7).astype(np.float32) for _ in range(16)]
    data = [{"image": 0.5 * mask + draw.random(mask.shape, dtype=np.float32), "label": mask} for mask in masks]
    keys = ["image", "label"]
    prepare = transforms.Compose(
        [
            transforms.EnsureChannelFirstd(keys, channel_dim="no_channel"),
            transforms.EnsureTyped(keys),
            transforms.ScaleIntensityd("image"),
            transforms.RandSpatialCropd(keys, (patch,) * dims, random_size=False),
            transforms.RandFlipd(keys, prob=0.5, spatial_axis=0),
            transforms.RandRotate90d(keys, prob=0.5, spatial_axes=(0, 1)),
        ]
    )
    loader = DataLoader(CacheDataset(data, prepare, progress=False), batch_size=batch, shuffle=True)
    net = UNet(dims, 1, 1, channels=channels, strides=(2,) * (len(channels) - 1), num_res_units=2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    dice = DiceLoss(sigmoid=True)

    def train(count: int) -> None:
        left = count
        while left:
            net.train()
            for found in itertools.islice(loader, left):
                left -= 1
                optimizer.zero_grad()
                loss = dice(net(found["image"]), found["label"])
                loss.backward()
                optimizer.step()

    return train


def monai2d() -> Train:
    """MONAI in 2D: MetaTensors from a cached data set."""
    return _monai(2, 96, 80, 4, (16, 32, 64))


def monai3d() -> Train:
    """MONAI in 3D: MetaTensors from a cached data set, random patches."""
    return _monai(3, 40, 32, 2, (8, 16, 32))


def registration() -> Train:
    """Deformable registration of volumes from a numpy generator: a U-Net's flow, a warp, similarity and smoothness."""
    import numpy as np
    import torch
    from torch import nn

    def block(a: int, b: int, stride: int = 1) -> nn.Module:
        return nn.Sequential(nn.Conv3d(a, b, 3, stride, 1), nn.LeakyReLU(0.2))

    class Register(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([block(2, 8, 2), block(8, 16, 2)])
            self.up = nn.ModuleList([block(16, 16), block(24, 8)])
            self.grow = nn.Upsample(scale_factor=2)
            self.flow = nn.Conv3d(10, 3, 3, padding=1)
            nn.init.normal_(self.flow.weight, 0, 1e-5)
            axes = [torch.linspace(-1, 1, 24)] * 3
            self.register_buffer("grid", torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)[None])

        def forward(self, moving: Any, fixed: Any) -> tuple[Any, Any]:
            whole = torch.cat([moving, fixed], 1)
            half = self.down[0](whole)
            x = self.grow(self.up[0](self.down[1](half)))
            flow = self.flow(torch.cat([self.grow(self.up[1](torch.cat([x, half], 1))), whole], 1))
            grid = self.grid + flow.permute(0, 2, 3, 4, 1) / 16
            return nn.functional.grid_sample(moving, grid, align_corners=True), flow

    net = Register()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    volumes = np.random.default_rng(0).random((8, 24, 24, 24), dtype=np.float32)
    pairs = itertools.permutations(range(8), 2)

    def step() -> None:
        nonlocal pairs
        pair = next(pairs, None)
        if pair is None:
            pairs = itertools.permutations(range(8), 2)
            pair = next(pairs)
        moving, fixed = (torch.from_numpy(volumes[i][None, None]) for i in pair)
        moved, flow = net(moving, fixed)
        smooth = sum(flow.diff(dim=axis).square().mean() for axis in (2, 3, 4)) / 3
        loss = nn.functional.mse_loss(moved, fixed) + 0.01 * smooth
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return repeated(step)


def language_model() -> Train:
    """A small GPT on characters: groups with and without decay, clipping, a schedule that is set by hand."""
    import math

    import torch
    from torch import nn

    width, context, symbols = 96, 64, 65

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Any) -> Any:
            b, t, _ = x.shape
            q, k, v = (part.view(b, t, 4, -1).transpose(1, 2) for part in self.qkv(self.before(x)).chunk(3, -1))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, width))
            return x + self.mlp(self.between(x))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(context, width)
            self.blocks = nn.ModuleList(Block() for _ in range(4))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, symbols, bias=False)
            self.tokens.weight = self.head.weight

        def forward(self, x: Any, y: Any) -> tuple[Any, Any]:
            h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
            for block in self.blocks:
                h = block(h)
            logits = self.head(self.norm(h))
            return logits, nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

    net, text = Model(), torch.randint(0, symbols, (20_000,))
    groups = [[p for p in net.parameters() if (p.ndim > 1) == decays] for decays in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": groups[0], "weight_decay": 0.1}, {"params": groups[1], "weight_decay": 0.0}], 1e-3
    )
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, taken / 100) * (0.55 + 0.45 * math.cos(taken / 2000))
        starts = torch.randint(len(text) - context - 1, (8,))
        x = torch.stack([text[i : i + context] for i in starts])
        y = torch.stack([text[i + 1 : i + 1 + context] for i in starts])
        _, loss = net(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return repeated(step)


def lightning() -> Train:
    """A LightningModule under its Trainer, with logged figures."""
    import logging
    import warnings

    import lightning.pytorch as pl
    import torch
    from torch import nn

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)]
            layers += [nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
            self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 5))

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            logits = self.net(x)
            loss = nn.functional.cross_entropy(logits, y)
            self.log("train_loss", loss)
            self.log("train_accuracy", (logits.argmax(1) == y).float().mean())
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), 1e-3)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)]

    data = torch.utils.data.TensorDataset(torch.randn(128, 1, 64, 64), torch.randint(0, 5, (128,)))
    model = Classifier()

    def train(count: int) -> None:
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        pl.Trainer(max_steps=count, max_epochs=-1, accelerator="cpu", enable_model_summary=False, **quiet).fit(
            model, loader
        )

    return train


def hugging_face() -> Train:
    """A small BERT of transformers' under its Trainer."""
    import tempfile

    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    from transformers.utils import logging as messages

    messages.set_verbosity_error()
    sizes = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 192}
    model = BertForSequenceClassification(BertConfig(vocab_size=400, num_labels=3, **sizes))
    ids = torch.randint(0, 400, (256, 48))
    rows = [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row[0] % 3} for row in ids]

    def train(count: int) -> None:
        with tempfile.TemporaryDirectory() as out:
            options = {"save_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True}
            arguments = TrainingArguments(
                out, max_steps=count, per_device_train_batch_size=8, logging_steps=50, **options
            )
            Trainer(model, arguments, train_dataset=rows).train()

    return train


def unet2d() -> Train:
    """Image translation with a 2D network, two terms, a clamp, clipping and a schedule."""
    import torch
    from torch import nn

    def block(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.Dropout2d(0.1))

    net = nn.Sequential(block(1, 24), block(24, 24), block(24, 24), nn.Conv2d(24, 1, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)

    def step() -> None:
        x = torch.rand(4, 1, 64, 64)
        y = net(x).clamp(-1, 1)
        l1 = nn.functional.l1_loss(y, x)
        smooth = (y[..., 1:] - y[..., :-1]).abs().mean()
        loss = l1 + 0.1 * smooth
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    return repeated(step)


def gan() -> Train:
    """A GAN with two optimisers on 32-pixel patches."""
    import torch
    from torch import nn

    g = nn.Sequential(
        nn.ConvTranspose2d(32, 48, 8), nn.ReLU(), nn.Upsample(scale_factor=4), nn.Conv2d(48, 1, 5, padding=2)
    )
    d = nn.Sequential(nn.Conv2d(1, 48, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(48, 96, 4, 2, 1), nn.LeakyReLU(0.2),
                      nn.Flatten(), nn.Linear(96 * 64, 1))  # fmt: skip
    og, od = torch.optim.Adam(g.parameters(), 2e-4), torch.optim.Adam(d.parameters(), 2e-4)

    def step() -> None:
        real, noise = torch.rand(8, 1, 32, 32), torch.randn(8, 32, 1, 1)
        fake = g(noise)
        od.zero_grad()
        (nn.functional.softplus(-d(real)).mean() + nn.functional.softplus(d(fake.detach())).mean()).backward()
        od.step()
        og.zero_grad()
        nn.functional.softplus(-d(fake)).mean().backward()
        og.step()

    return repeated(step)


def transformer() -> Train:
    """A patch transformer: many small modules and parameters, the unkindest case for hooks."""
    import torch
    from torch import nn

    layer = nn.TransformerEncoderLayer(96, 4, 192, batch_first=True)
    body = nn.TransformerEncoder(layer, 6)
    embed, head = nn.Conv2d(1, 96, 8, 8), nn.Linear(96, 4)
    parameters = [*embed.parameters(), *body.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 1e-3)

    def step() -> None:
        x, y = torch.randn(8, 1, 64, 64), torch.randint(0, 4, (8,))
        tokens = embed(x).flatten(2).transpose(1, 2)
        loss = nn.functional.cross_entropy(head(body(tokens).mean(1)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return repeated(step)


STYLES: dict[str, Callable[[], Train]] = {
    function.__name__: function
    for function in (
        monai2d,
        monai3d,
        conv3d,
        registration,
        language_model,
        lightning,
        hugging_face,
        unet2d,
        gan,
        transformer,
    )
}

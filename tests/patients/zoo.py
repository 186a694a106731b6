"""InOrder cases of many kinds, small: whatever is found in one of them above `suspected` is a false alarm."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss
from monai.networks.nets import DiffusionModelUNet, UNet
from torch import Tensor, nn

import traindx as dx
from patients.denoisers import ALPHAS_CUMPROD, STEPS, add_noise, denoising_case, objective, psnr
from patients.volumes import bodies, images, projections


def split(parts: dict[str, Tensor], train: int, size: int = 2) -> dict[str, Callable[[], list[dict[str, Tensor]]]]:
    """Train and validation batches from tensors of samples."""
    count = len(next(iter(parts.values())))

    def batches(start: int, stop: int) -> list[dict[str, Tensor]]:
        return [{key: value[i : min(i + size, stop)] for key, value in parts.items()} for i in range(start, stop, size)]

    return {"train": lambda: batches(0, train), "val": lambda: batches(train, count)}


class SmallUNet(nn.Module):
    """A U-Net with a skip at full resolution, instance norm, dropout and a zero-initialised last layer."""

    def __init__(self, channels=1, out=1, last=nn.Identity, norm=nn.InstanceNorm2d, width=16) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), norm(b), nn.SiLU(), nn.Dropout(0.1))

        self.down1, self.down2 = block(channels, width), block(width, 2 * width)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.fuse = block(2 * width, width)
        self.out = nn.Conv2d(width, out, 1)
        nn.init.zeros_(self.out.weight)
        self.last = last()

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        return self.last(self.out(self.fuse(torch.cat([self.up(b), a], 1))))


def translation() -> dx.Case:
    """MR to CT with a tanh head; air is exactly -1."""
    ct = images(10, 32)
    mr = (0.5 - ct).abs() + 0.05 * torch.randn(ct.shape, generator=torch.Generator().manual_seed(1))
    return dx.Case(
        model=lambda: SmallUNet(last=nn.Tanh),
        loss=lambda model, batch: F.l1_loss(model(batch["mr"]), batch["ct"]),
        predict=lambda model, batch: model(batch["mr"]),
        target=lambda batch: batch["ct"],
        metrics={"psnr": psnr},
        conditions=("mr",),
        name="translation",
        parts=(dx.DataRange(-1.0, 1.0),),
        **split({"mr": mr, "ct": ct}, 6),
    )


def segmentation() -> dx.Case:
    """Binary segmentation with logits, Dice and cross-entropy, batch norm."""
    x = images(10, 32)
    y = (x > 0.2).float()
    criterion = DiceCELoss(sigmoid=True)
    return dx.Case(
        model=lambda: UNet(2, 1, 1, channels=(8, 16, 32), strides=(2, 2), num_res_units=1, norm="BATCH"),
        **split({"image": x, "label": y}, 6),
        loss=lambda model, batch: criterion(model(batch["image"]), batch["label"]),
        predict=lambda model, batch: (model(batch["image"]) > 0).float(),
        target=lambda batch: batch["label"],
        metrics={"dice": lambda p, t: 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)},
        conditions=("image",),
        name="segmentation",
    )


def multiclass() -> dx.Case:
    """Segmentation in three classes with integer labels."""
    x = bodies(6, 16)
    y = ((x > 0.1).long() + (x > 0.5).long())[:, 0]
    return dx.Case(
        model=lambda: UNet(3, 1, 3, channels=(8, 16), strides=(2,), num_res_units=1),
        **split({"image": x, "label": y}, 4),
        loss=lambda model, batch: F.cross_entropy(model(batch["image"]), batch["label"]),
        predict=lambda model, batch: model(batch["image"]).argmax(1),
        target=lambda batch: batch["label"],
        metrics={"accuracy": lambda p, t: (p == t).float().mean()},
        conditions=("image",),
        name="multiclass",
    )


class Classifier(nn.Module):
    """Convolutions with batch norm, global pooling, dropout and a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def findings_classifier() -> dx.Case:
    """Multi-label classification of images with positive weights."""
    x = images(24, 32)
    y = torch.stack([(x[:, 0].amax((1, 2)) > q).float() for q in (0.85, 0.9, 0.95)], 1)
    weight = torch.tensor([1.0, 2.0, 3.0])
    return dx.Case(
        model=lambda: Classifier(3),
        **split({"image": x, "labels": y}, 16, size=8),
        loss=lambda model, batch: F.binary_cross_entropy_with_logits(
            model(batch["image"]), batch["labels"], pos_weight=weight
        ),
        predict=lambda model, batch: model(batch["image"]).sigmoid(),
        target=lambda batch: batch["labels"],
        metrics={"accuracy": lambda p, t: ((p > 0.5) == (t > 0.5)).float().mean()},
        conditions=("image",),
        name="findings classifier",
    )


class LiftingNet(nn.Module):
    """Two radiographs to a volume: 2D features spread along their own axes, then 3D convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.frontal = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU())
        self.lateral = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU())
        self.fuse = nn.Sequential(
            nn.Conv3d(32, 16, 3, padding=1), nn.GELU(), nn.Conv3d(16, 16, 3, padding=1), nn.GELU(), nn.Conv3d(16, 1, 1)
        )

    def forward(self, frontal: Tensor, lateral: Tensor) -> Tensor:
        size = frontal.shape[-1]
        a = self.frontal(frontal).unsqueeze(3).expand(-1, -1, -1, size, -1)
        b = self.lateral(lateral).unsqueeze(4).expand(-1, -1, -1, -1, size)
        return self.fuse(torch.cat([a, b], 1))


def regression() -> dx.Case:
    """Direct X-ray to CT regression with L1, gradient and projection terms."""
    ct = bodies(8, 16)
    frontal, lateral = projections(ct)

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        p, y = model(batch["frontal"], batch["lateral"]), batch["ct"]
        edges = sum(F.l1_loss(p.diff(dim=d), y.diff(dim=d)) for d in (2, 3, 4))
        again = projections(p)
        return {
            "l1": F.l1_loss(p, y),
            "gradient": 0.15 * edges,
            "projection": 0.1 * (F.l1_loss(again[0], batch["frontal"]) + F.l1_loss(again[1], batch["lateral"])),
        }

    return dx.Case(
        model=LiftingNet,
        loss=loss,
        predict=lambda model, batch: model(batch["frontal"], batch["lateral"]).clamp(-1, 1),
        target=lambda batch: batch["ct"],
        metrics={"psnr": psnr},
        conditions=("frontal", "lateral"),
        name="regression",
        parts=(dx.DataRange(-1.0, 1.0),),
        **split({"ct": ct, "frontal": frontal, "lateral": lateral}, 6),
    )


def noise_removal() -> dx.Case:
    """A plain deep convolutional network that predicts the noise (Zhang et al. 2017), batch norm and ReLU."""
    clean = images(8, 32)
    noise = 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))

    def build() -> nn.Module:
        middle = [layer for _ in range(4) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
        return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), *middle, nn.Conv2d(16, 1, 3, padding=1))

    return dx.Case(
        model=build,
        **split({"noisy": clean + noise, "clean": clean}, 6),
        loss=lambda model, batch: F.mse_loss(batch["noisy"] - model(batch["noisy"]), batch["clean"]),
        predict=lambda model, batch: batch["noisy"] - model(batch["noisy"]),
        target=lambda batch: batch["clean"],
        metrics={"psnr": psnr},
        conditions=("noisy",),
        name="noise removal",
    )


class ImageTransformer(nn.Module):
    """A diffusion transformer with patches of two pixels and adaptive norms that start at zero."""

    def __init__(self, size=16, dim=32) -> None:
        super().__init__()
        from patients.denoisers import Block

        self.grid = size // 2
        self.embed = nn.Conv2d(1, dim, 2, stride=2)
        self.position = nn.Parameter(torch.randn(1, self.grid**2, dim) * 0.02)
        self.time = nn.Sequential(nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.blocks = nn.ModuleList([Block(dim) for _ in range(2)])
        self.norm = nn.LayerNorm(dim)
        self.patches = nn.Linear(dim, 4)
        nn.init.zeros_(self.patches.weight)
        nn.init.zeros_(self.patches.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        embedding = self.time(time[:, None].float())
        for block in self.blocks:
            tokens = block(tokens, embedding)
        return F.pixel_shuffle(self.patches(self.norm(tokens)).transpose(1, 2).unflatten(2, (self.grid, self.grid)), 2)


def image_diffusion(build: Callable[[], nn.Module], prediction: str, call: Callable[..., Tensor], name: str) -> dx.Case:
    """Unconditional diffusion of slices."""
    x = images(10, 16)

    def denoise(model: nn.Module, x_t: Tensor, t: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return call(model, x_t, t)

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        t = torch.randint(0, STEPS, (len(batch["x"]),))
        noise = torch.randn_like(batch["x"])
        return F.mse_loss(
            denoise(model, add_noise(batch["x"], noise, t), t, batch), objective(batch["x"], noise, t, prediction)
        )

    @torch.no_grad()
    def sample(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        x = torch.randn_like(batch["x"])
        times = [99, 75, 50, 25, 0]
        for t, following in zip(times, [75, 50, 25, 0, None], strict=True):
            a, s = ALPHAS_CUMPROD[t].sqrt(), (1 - ALPHAS_CUMPROD[t]).sqrt()
            out = denoise(model, x, torch.full((len(x),), t), batch)
            x0 = a * x - s * out if prediction == "v" else ((x - s * out) / a).clamp(-1, 1)
            if following is None:
                return x0
            eps = (x - a * x0) / s
            x = ALPHAS_CUMPROD[following].sqrt() * x0 + (1 - ALPHAS_CUMPROD[following]).sqrt() * eps
        return x

    return dx.Case(
        model=build,
        loss=loss,
        target=lambda batch: batch["x"],
        metrics={"psnr": psnr},
        diffusion=dx.Diffusion(ALPHAS_CUMPROD, prediction, denoise, sample),
        name=name,
        parts=(dx.DataRange(-1.0, 1.0),),
        **split({"x": x}, 6, size=4),
    )


def transformer_diffusion() -> dx.Case:
    """Image diffusion by a transformer."""
    return image_diffusion(ImageTransformer, "v", lambda model, x, t: model(x, t / STEPS), "transformer diffusion")


def monai_diffusion() -> dx.Case:
    """Image diffusion by MONAI's network (zero-initialised output)."""

    def build() -> nn.Module:
        return DiffusionModelUNet(
            2, 1, 1, channels=(16, 32), attention_levels=(False, True), norm_num_groups=8, num_head_channels=8,
            num_res_blocks=1,
        )  # fmt: skip

    return image_diffusion(build, "epsilon", lambda model, x, t: model(x, t), "MONAI diffusion")


NOTHING_FOUND: dict[str, Callable[[], dx.Case]] = {
    "hybrid v": lambda: denoising_case(prediction="v"),
    "hybrid epsilon": lambda: denoising_case(prediction="epsilon"),
    "hybrid x0": lambda: denoising_case(prediction="sample"),
    "translation": translation,
    "segmentation": segmentation,
    "multiclass": multiclass,
    "findings classifier": findings_classifier,
    "regression": regression,
    "noise removal": noise_removal,
    "transformer diffusion": transformer_diffusion,
    "MONAI diffusion": monai_diffusion,
}

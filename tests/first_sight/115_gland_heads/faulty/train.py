"""Nuclei, glands and lumina of colon tissue with one encoder and a decoder for each; inference on whole slides by MONAI."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.metrics import DiceMetric
from monai.utils import set_determinism
from torch.utils.data import DataLoader, Dataset

DECODERS = {"Nuclei": 12, "Gland": 8, "Lumen": 8}


def tissue(rng, size, glands):
    """Image (3, size, size) and masks of nuclei, glands and lumina (3, size, size)."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    nuclei, gland, lumen = (np.zeros((size, size), bool) for _ in range(3))
    for _ in range(glands):
        cx, cy = rng.uniform(0, size, 2)
        a, b, turn = rng.uniform(9, 15), rng.uniform(8, 12), rng.uniform(0, np.pi)
        u, v = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn), (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        radius = np.sqrt((u / a) ** 2 + (v / b) ** 2)
        gland |= radius < 1
        lumen |= radius < rng.uniform(0.3, 0.5)
        for angle in np.arange(0, 2 * np.pi, 0.5) + rng.uniform(0, 0.5):
            pu, pv = 0.8 * a * np.cos(angle), 0.8 * b * np.sin(angle)
            nuclei |= (u - pu) ** 2 + (v - pv) ** 2 < rng.uniform(1.3, 2.0) ** 2
    for _ in range(size * size // 500):
        nx, ny = rng.uniform(0, size, 2)
        nuclei |= ((x - nx) / rng.uniform(1.0, 2.5)) ** 2 + ((y - ny) / rng.uniform(1.0, 2.5)) ** 2 < 1
    nuclei &= ~lumen
    image = np.empty((3, size, size), np.float32)
    image[:] = np.array([0.85, 0.6, 0.75])[:, None, None]
    image[:, gland] = np.array([0.75, 0.5, 0.75])[:, None]
    image[:, lumen] = np.array([0.93, 0.9, 0.93])[:, None]
    image[:, nuclei] = np.array([0.4, 0.25, 0.55])[:, None]
    image += rng.normal(0, 0.07, image.shape) + rng.normal(0, 0.03, (3, 1, 1))
    return (image - 0.7) / 0.2, np.stack([nuclei, gland, lumen]).astype(np.float32)


class Patches(Dataset):
    def __init__(self, count, seed, size=48, augment=False):
        rng = np.random.default_rng(seed)
        pairs = [tissue(rng, size, rng.integers(1, 4)) for _ in range(count)]
        self.images = torch.from_numpy(np.stack([image for image, _ in pairs]))
        self.masks = torch.from_numpy(np.stack([mask for _, mask in pairs]))
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, mask = self.images[index], self.masks[index]
        if self.augment:
            turns = int(torch.randint(4, (1,)))
            image, mask = image.rot90(turns, (1, 2)), mask.rot90(turns, (1, 2))
            if torch.rand(1) < 0.5:
                image, mask = image.flip(2), mask.flip(2)
        return image, {name: mask[i : i + 1] for i, name in enumerate(DECODERS)}


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Decoder(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        first, second, third = channels
        self.up = nn.Upsample(scale_factor=2)
        self.middle, self.last = block(third + second, 2 * width), block(2 * width + first, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, features):
        first, second, third = features
        x = self.middle(torch.cat([self.up(third), second], 1))
        return self.head(self.last(torch.cat([self.up(x), first], 1)))


class TissueNet(nn.Module):
    """Logits (batch, 1, height, width) for each decoder of the configuration, in its order."""

    def __init__(self, decoders, channels=(10, 20, 40)):
        super().__init__()
        self.stages = nn.ModuleList(block(i, o) for i, o in zip((3, *channels[:-1]), channels))
        self.pool = nn.MaxPool2d(2)
        self.decoders = nn.ModuleDict({name: Decoder(channels, width) for name, width in decoders.items()})

    def forward(self, x):
        features = [self.stages[0](x)]
        for stage in self.stages[1:]:
            features.append(stage(self.pool(features[-1])))
        return {name: decoder(features) for name, decoder in self.decoders.items()}


def run_epoch(model, loader, optimizer):
    model.train()
    dice_loss, bce_loss, total = DiceLoss(sigmoid=True), nn.BCEWithLogitsLoss(), 0.0
    for image, masks in loader:
        logits = model(image)
        loss = sum(dice_loss(logits[name], masks[name]) + bce_loss(logits[name], masks[name]) for name in DECODERS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(image)
    return total / len(loader.dataset)


@torch.no_grad()
def validate(model, loader):
    """Dice of each tissue on patches."""
    model.eval()
    metrics = {name: DiceMetric(reduction="mean") for name in DECODERS}
    for image, masks in loader:
        logits = model(image)
        for name, metric in metrics.items():
            metric((logits[name] > 0).float(), masks[name])
    return {name: metric.aggregate().item() for name, metric in metrics.items()}


class SlideInference:
    """Probability maps of whole slides, put together from overlapping windows."""

    head_names = ["Gland", "Lumen", "Nuclei"]

    def __init__(self, model, window=48, overlap=0.25):
        self.model, self.window, self.overlap = model, window, overlap

    def predict_window(self, x):
        return torch.cat([torch.sigmoid(logits) for logits in self.model(x).values()], 1)

    @torch.no_grad()
    def __call__(self, slide):
        self.model.eval()
        maps = sliding_window_inference(slide[None], self.window, 8, self.predict_window, self.overlap, mode="gaussian")[0]
        return dict(zip(self.head_names, maps))


def evaluate_slides(model, count, seed):
    """Dice of each tissue and the mean error of the share of gland, on slides."""
    rng, infer = np.random.default_rng(seed), SlideInference(model)
    scores, shares = {name: [] for name in DECODERS}, []
    for _ in range(count):
        image, masks = tissue(rng, 160, 18)
        maps = infer(torch.from_numpy(image))
        for name, truth in zip(DECODERS, torch.from_numpy(masks)):
            found = (maps[name] > 0.5).float()
            scores[name].append((2 * (found * truth).sum() / (found.sum() + truth.sum())).item())
        shares.append(abs((maps["Gland"] > 0.5).float().mean().item() - float(masks[1].mean())))
    return {name: float(np.mean(values)) for name, values in scores.items()}, float(np.mean(shares))


def show(dice):
    return " ".join(f"{name} {value:.4f}" for name, value in dice.items())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    set_determinism(23)
    train_loader = DataLoader(Patches(240, 1, augment=True), batch_size=12, shuffle=True)
    val_loader = DataLoader(Patches(60, 2), batch_size=20)
    model = TissueNet(DECODERS)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    for epoch in range(args.epochs):
        loss = run_epoch(model, train_loader, optimizer)
        scheduler.step()
        dice = validate(model, val_loader)
        print(f"epoch {epoch + 1} loss {loss:.4f} {show(dice)}")
    slide_dice, share_error = evaluate_slides(model, 6, 3)
    print(f"final: Dice on patches {show(dice)}, on slides {show(slide_dice)}, error of the gland share {share_error:.4f}")


if __name__ == "__main__":
    main()

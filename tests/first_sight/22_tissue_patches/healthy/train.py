"""Tissue maps of cortex patches, atlas codes 3 (fluid), 5 (grey), 9 (white); Lightning."""
import lightning as L
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

NAMES = ["outside", "fluid", "grey", "white"]
ATLAS = np.array([0, 3, 5, 9])


def cortex(rng, size=48):
    """A strip of cortex at any angle: intensities and atlas codes."""
    yy, xx = np.mgrid[-1:1:size * 1j, -1:1:size * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    depth = yy * np.cos(angle) + xx * np.sin(angle)
    fold = 0.12 * np.sin(rng.uniform(3, 6) * (xx * np.cos(angle) - yy * np.sin(angle)) + rng.uniform(0, 6))
    outer = rng.uniform(-0.6, -0.2) if rng.random() < 0.4 else -3.0
    inner = max(outer, -1.0) + rng.uniform(0.5, 0.7)
    code = np.full((size, size), 9)
    code[depth < inner + rng.uniform(0.35, 0.5) + fold] = 5
    code[depth < inner + fold] = 3
    code[depth < outer + fold] = 0
    mean = np.select([code == 0, code == 3, code == 5], [0.05, 0.3, 0.6], 0.85)
    bias = 1 + 0.15 * np.sin(2 * xx + rng.uniform(0, 6)) * np.cos(2 * yy + rng.uniform(0, 6))
    return (mean * bias + rng.normal(0, 0.07, mean.shape)).astype(np.float32), code


def consecutive(code):
    """Atlas codes to 0, 1, 2, ..."""
    codes = np.unique(code)
    codes = codes[codes > 0]
    out = np.zeros(code.shape, np.int64)
    for new, old in enumerate(codes, 1):
        out[code == old] = new
    return out


class CortexPatches(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = [cortex(rng) for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, code = self.items[i]
        return torch.from_numpy((image - 0.5) / 0.3)[None], torch.from_numpy(consecutive(code))


class ExpertMaps(CortexPatches):
    """Reference maps drawn with our own ids, no atlas codes."""

    def __getitem__(self, i):
        image, code = self.items[i]
        return torch.from_numpy((image - 0.5) / 0.3)[None], torch.from_numpy(np.searchsorted(ATLAS, code))


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.01),
                         nn.Conv2d(o, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.01))


class UNet(nn.Module):
    def __init__(self, classes, width=8):
        super().__init__()
        self.enc1, self.enc2, self.mid = block(1, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.dec2, self.dec1 = block(6 * width, 2 * width), block(3 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        d = self.dec2(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        return self.out(self.dec1(torch.cat([F.interpolate(d, scale_factor=2), a], 1)))


class TissueSegmenter(L.LightningModule):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.net, self.lr = UNet(len(NAMES)), lr
        self.overlap, self.size = torch.zeros(len(NAMES)), torch.zeros(len(NAMES))

    def training_step(self, batch, _):
        image, mask = batch
        loss = F.cross_entropy(self.net(image), mask)
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, _):
        image, mask = batch
        pred = self.net(image).argmax(1)
        for c in range(len(NAMES)):
            self.overlap[c] += ((pred == c) & (mask == c)).sum()
            self.size[c] += (pred == c).sum() + (mask == c).sum()

    def on_validation_epoch_end(self):
        dice = 2 * self.overlap / self.size.clamp(min=1)
        self.overlap, self.size = torch.zeros_like(self.overlap), torch.zeros_like(self.size)
        self.log("val_dice", dice[1:].mean())
        if not self.trainer.sanity_checking:
            print(f"epoch {self.current_epoch} train_loss {self.trainer.callback_metrics.get('train_loss', float('nan')):.4f} "
                  f"val_dice {dice[1:].mean():.4f} " + " ".join(f"{n} {d:.3f}" for n, d in zip(NAMES, dice.tolist())))

    def configure_optimizers(self):
        opt = torch.optim.AdamW(self.parameters(), self.lr)
        return {"optimizer": opt, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, self.trainer.max_epochs)}


if __name__ == "__main__":
    L.seed_everything(1)
    train = DataLoader(CortexPatches(160, 0), batch_size=8, shuffle=True)
    val = DataLoader(ExpertMaps(40, 1), batch_size=20)
    trainer = L.Trainer(max_epochs=7, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(TissueSegmenter(), train, val)

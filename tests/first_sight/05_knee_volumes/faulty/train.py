"""Single-coil knee reconstruction with a small U-Net, PyTorch Lightning."""
import logging
import warnings
from collections import defaultdict

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

SIZE, SLICES = 48, 10


def knee(rng):
    """Magnitude volume (slices, y, x); signal fades towards the ends of the coil."""
    yy, xx = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    volume = np.zeros((SLICES, SIZE, SIZE))
    scale = np.exp(rng.normal(0, 0.5)) * 2e-4
    for z in range(SLICES):
        t = abs(z - (SLICES - 1) / 2) / (SLICES / 2)
        r = 0.8 - 0.35 * t
        bone = ((yy - 0.35) / r) ** 2 + (xx / 0.6) ** 2 < 0.5
        tibia = ((yy + 0.45) / r) ** 2 + (xx / 0.55) ** 2 < 0.4
        skin = (yy / 0.95) ** 2 + (xx / 0.8) ** 2 < 1
        texture = 1 + 0.15 * np.sin(12 * xx + rng.uniform(0, 6)) * np.sin(10 * yy)
        volume[z] = scale * np.exp(-4 * t ** 2) * (0.35 * skin + 0.5 * bone * texture + 0.45 * tibia * texture)
    return volume


class KneeSlices(Dataset):
    def __init__(self, patients, seed, acceleration=4, centre=0.12):
        rng = np.random.default_rng(seed)
        self.examples = []
        for p in range(patients):
            volume = knee(rng)
            for z in range(SLICES):
                image = volume[z] + rng.normal(0, 2e-6, (2, SIZE, SIZE))[0]
                mask = rng.random(SIZE) < 1 / acceleration
                lo = int(SIZE * (1 - centre) / 2)
                mask[lo:SIZE - lo] = True
                kspace = np.fft.fftshift(np.fft.fft2(image)) * mask[None]
                zero_filled = np.abs(np.fft.ifft2(np.fft.ifftshift(kspace)))
                self.examples.append((zero_filled.astype(np.float32), np.abs(image).astype(np.float32), f"file{p:03d}", z))

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, i):
        image, target, fname, z = self.examples[i]
        mean, std = image.mean(), image.std() + 1e-11
        return torch.from_numpy((image - mean) / std)[None], torch.from_numpy((target - mean) / std)[None], mean, std, fname, z


def nmse(gt, pred):
    return np.linalg.norm(gt - pred) ** 2 / np.linalg.norm(gt) ** 2


def psnr(gt, pred):
    return 10 * np.log10(gt.max() ** 2 / np.mean((gt - pred) ** 2))


class Unet(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o), nn.LeakyReLU(0.2), nn.Conv2d(o, o, 3, padding=1), nn.LeakyReLU(0.2))
        self.a, self.b, self.c, self.d = conv(1, ch), conv(ch, 2 * ch), conv(3 * ch, ch), nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.avg_pool2d(a, 2))
        return x + self.d(self.c(torch.cat([F.interpolate(b, scale_factor=2, mode="bilinear"), a], 1)))


class UnetModule(L.LightningModule):
    def __init__(self, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.unet = Unet()
        self.outputs = []

    def training_step(self, batch, _):
        image, target = batch[:2]
        loss = F.l1_loss(self.unet(image), target)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        image, target, mean, std, fname, z = batch
        back = lambda t: (t[:, 0] * std[:, None, None] + mean[:, None, None]).cpu().numpy()
        self.outputs += list(zip(fname, z.tolist(), back(target), back(self.unet(image))))

    def on_validation_epoch_end(self):
        volumes = defaultdict(list)
        for fname, z, target, output in self.outputs:
            volumes[fname].append((z, target, output))
        nmses, psnrs = [], []
        for fname, slices in volumes.items():
            for _, target, output in sorted(slices, key=lambda s: s[0]):
                nmses.append(nmse(target, output))
                psnrs.append(psnr(target, output))
        self.outputs.clear()
        self.log("val_nmse", float(np.mean(nmses)))
        self.log("val_psnr", float(np.mean(psnrs)))
        print(f"epoch {self.current_epoch} volumes {len(volumes)} val_nmse {np.mean(nmses):.4f} val_psnr {np.mean(psnrs):.2f}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main():
    L.seed_everything(42, verbose=False)
    train = DataLoader(KneeSlices(30, 1), batch_size=12, shuffle=True)
    val = DataLoader(KneeSlices(8, 2), batch_size=10)
    trainer = L.Trainer(max_epochs=9, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(UnetModule(), train, val)


if __name__ == "__main__":
    main()

"""Self-supervised pretraining of a small convolutional encoder on brain MR slices by masked reconstruction."""
from argparse import ArgumentParser

import lightning as L
import numpy as np
import torch
import torch.nn as nn
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.utils.data import DataLoader, Dataset

SIZE = 48


def brain(rng):
    """An axial slice: skull, grey and white matter, ventricles; symmetric up to a smooth deformation."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    ry, rx = rng.uniform(20, 22), rng.uniform(16, 19)
    r = np.sqrt((yy / ry) ** 2 + (xx / rx) ** 2)
    angle = np.arctan2(yy, xx)
    fold = 0.72 + 0.07 * np.cos(rng.integers(6, 9) * angle)
    image = np.zeros((SIZE, SIZE))
    image[r < 1] = 0.9
    image[r < 0.92] = 0.1
    image[r < 0.86] = 0.5
    image[r < fold] = 0.8
    opening, length = rng.uniform(2, 4), rng.uniform(6, 9)
    for side in (-1, 1):
        image[((yy + 1) / length) ** 2 + ((xx - side * (opening + 1)) / opening) ** 2 < 1] = 0.15
    flow = np.stack([gaussian_filter(rng.normal(0, 1, (SIZE, SIZE)), 8) for _ in range(2)])
    image = map_coordinates(image, np.mgrid[:SIZE, :SIZE] + 2.0 * flow / flow.std(), order=1)
    image = gaussian_filter(image, 0.6) + rng.normal(0, 0.02, image.shape)
    return ((image - image.mean()) / image.std()).astype(np.float32)


class TorchMask:
    """Hides random blocks; in the mask True stands for a pixel that is kept."""

    def __init__(self, ratio, block):
        self.ratio, self.block = ratio, block

    def __call__(self, sample):
        side = SIZE // self.block
        kept = torch.rand(side * side).argsort() >= int(self.ratio * side * side)
        mask = kept.reshape(1, side, side).repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
        sample["label"] = sample["image"].clone()
        sample["image"] = sample["image"] * mask
        sample["mask"] = mask
        return sample


class Slices(Dataset):
    def __init__(self, count, seed, transform):
        rng = np.random.default_rng(seed)
        self.images = [torch.from_numpy(brain(rng))[None] for _ in range(count)]
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform({"image": self.images[index]})


class PretrainData(L.LightningDataModule):
    def __init__(self, ratio, block, batch_size):
        super().__init__()
        self.batch_size = batch_size
        self.transform = TorchMask(ratio, block)

    def setup(self, stage=None):
        self.train = Slices(200, 1, self.transform)
        self.val = Slices(60, 2, self.transform)

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.val, 30)


def conv(inside, outside, stride=1):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(4, outside), nn.GELU())


class AutoEncoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = conv(1, width)
        self.down1 = nn.Sequential(conv(width, 2 * width, 2), conv(2 * width, 2 * width))
        self.down2 = nn.Sequential(conv(2 * width, 4 * width, 2), conv(4 * width, 4 * width))
        self.down3 = nn.Sequential(conv(4 * width, 8 * width, 2), conv(8 * width, 8 * width))
        self.up3 = nn.Sequential(nn.ConvTranspose2d(8 * width, 4 * width, 2, 2), conv(4 * width, 4 * width))
        self.up2 = nn.Sequential(nn.ConvTranspose2d(8 * width, 2 * width, 2, 2), conv(2 * width, 2 * width))
        self.up1 = nn.Sequential(nn.ConvTranspose2d(4 * width, width, 2, 2), conv(width, width))
        self.out = nn.Conv2d(2 * width, 1, 1)

    def forward(self, x):
        s = self.stem(x)
        d1 = self.down1(s)
        d2 = self.down2(d1)
        u = self.up3(self.down3(d2))
        u = self.up2(torch.cat([u, d2], 1))
        u = self.up1(torch.cat([u, d1], 1))
        return self.out(torch.cat([u, s], 1))


class SelfSupervised(L.LightningModule):
    def __init__(self, width, learning_rate, rec_loss_masked_only):
        super().__init__()
        self.save_hyperparameters()
        self.model = AutoEncoder(width)
        self._rec_loss_fn = nn.MSELoss()
        self.train_losses, self.inpainted = [], []

    def _rec_loss(self, pred, y, mask=None):
        if mask is not None:
            pred = pred.masked_fill(mask, 0)
            y = y.masked_fill(mask, 0)
        return self._rec_loss_fn(pred, y)

    def training_step(self, batch, _):
        x, y, mask = batch["image"], batch["label"], batch["mask"]
        pred = self.model(x)
        loss = self._rec_loss(pred, y, mask if self.hparams.rec_loss_masked_only else None)
        self.train_losses.append(loss.item())
        return loss

    def validation_step(self, batch, _):
        x, y, mask = batch["image"], batch["label"], batch["mask"]
        pred = self.model(x)
        loss = self._rec_loss(pred, y, mask if self.hparams.rec_loss_masked_only else None)
        self.log("val/loss", loss, batch_size=len(x))
        filled = torch.where(mask, y, pred)
        self.inpainted.append(((filled - y).square().mean((1, 2, 3)), y.amax((1, 2, 3)) - y.amin((1, 2, 3))))

    def on_validation_epoch_end(self):
        error = torch.cat([one[0] for one in self.inpainted])
        span = torch.cat([one[1] for one in self.inpainted])
        psnr = (20 * torch.log10(span) - 10 * torch.log10(error)).mean()
        self.log("val/psnr", psnr)
        if self.train_losses and (self.current_epoch + 1) % 3 == 0:
            print(f"epoch {self.current_epoch + 1} train loss {np.mean(self.train_losses):.4f} "
                  f"val loss {self.trainer.callback_metrics['val/loss'].item():.4f} inpainted PSNR {psnr.item():.2f} dB", flush=True)
        self.train_losses, self.inpainted = [], []

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return [optimizer], [schedule]


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--mask_ratio", type=float, default=0.5)
    parser.add_argument("--block", type=int, default=6)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    args = parser.parse_args()
    L.seed_everything(7, verbose=False)
    trainer = L.Trainer(max_epochs=args.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    module = SelfSupervised(args.width, args.learning_rate, rec_loss_masked_only=True)
    trainer.fit(module, PretrainData(args.mask_ratio, args.block, batch_size=10))
    print(f"final inpainted PSNR {trainer.callback_metrics['val/psnr'].item():.2f} dB")

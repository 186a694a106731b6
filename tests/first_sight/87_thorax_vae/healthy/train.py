"""Variational autoencoder of thoracic slices (Lightning)."""
import logging
import warnings

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="pytorch_lightning")
SIDE = 32


class ThoraxSlices(pl.LightningDataModule):
    def __init__(self, train=800, val=200, batch_size=40):
        super().__init__()
        self.save_hyperparameters()

    @staticmethod
    def draw(rng):
        yy, xx = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        a, b = rng.uniform(11, 15), rng.uniform(8, 12)
        image = 0.55 * ((xx / a) ** 2 + (yy / b) ** 2 < 1)
        for side in (-1, 1):
            lung = ((xx - side * a * 0.45) / (a * rng.uniform(0.28, 0.4))) ** 2 + (yy / (b * rng.uniform(0.5, 0.75))) ** 2 < 1
            image[lung] = 0.1
        image[(xx - rng.uniform(-1, 4)) ** 2 + (yy + rng.uniform(-2, 3)) ** 2 < rng.uniform(2.5, 5) ** 2] = 0.65
        image[xx**2 + (yy - b * 0.72) ** 2 < 4] = 0.95
        return gaussian_filter(image, 0.7) + rng.normal(0, 0.02, image.shape)

    def setup(self, stage=None):
        rng = np.random.default_rng(5)
        images = np.stack([self.draw(rng) for _ in range(self.hparams.train + self.hparams.val)])
        images = torch.from_numpy(images).float()[:, None]
        self.train_set, self.val_set = TensorDataset(images[: self.hparams.train]), TensorDataset(images[self.hparams.train :])

    def train_dataloader(self):
        return DataLoader(self.train_set, self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, 100)


class VAE(pl.LightningModule):
    def __init__(self, latent_dim=12, width=8, kl_coeff=0.001, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU(), nn.Flatten(), nn.Linear(2 * width * 64, 128), nn.SiLU()
        )
        self.fc_mu, self.fc_var = nn.Linear(128, latent_dim), nn.Linear(128, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, 128), nn.SiLU(), nn.Linear(128, 2 * width * 64), nn.SiLU(), nn.Unflatten(1, (2 * width, 8, 8)),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(width, 1, 4, 2, 1),
        )
        self.history = []

    def encode(self, x):
        features = self.encoder(x)
        return self.fc_mu(features), self.fc_var(features)

    def forward(self, x):
        return self.decoder(self.encode(x)[0])

    @staticmethod
    def divergence(mu, log_var):
        return -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1).mean()

    def step(self, batch):
        (x,) = batch
        mu, log_var = self.encode(x)
        z = mu + torch.randn_like(mu) * (0.5 * log_var).exp()
        recon = F.mse_loss(self.decoder(z), x)
        kl = self.divergence(mu, log_var)
        loss = recon + self.hparams.kl_coeff * kl
        return loss, {"loss": loss.detach(), "recon": recon.detach(), "kl": kl.detach()}

    def training_step(self, batch, batch_idx):
        loss, logs = self.step(batch)
        self.log_dict({f"train_{k}": v for k, v in logs.items()}, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        _, logs = self.step(batch)
        (x,) = batch
        logs["psnr"] = -10 * torch.log10(F.mse_loss(self(x), x))
        self.log_dict({f"val_{k}": v for k, v in logs.items()})

    def on_train_epoch_end(self):
        if self.current_epoch % 3 == 2:
            m = {k: float(v) for k, v in self.trainer.callback_metrics.items()}
            print(f"epoch {self.current_epoch + 1} loss {m['train_loss']:.5f} recon {m['train_recon']:.5f} kl {m['train_kl']:.4f} val psnr {m['val_psnr']:.2f} dB")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def main():
    pl.seed_everything(1, verbose=False)
    data, model = ThoraxSlices(), VAE(latent_dim=12, kl_coeff=2e-4)
    trainer = pl.Trainer(
        max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0
    )
    trainer.fit(model, data)
    result = trainer.validate(model, data, verbose=False)[0]
    model.eval()
    with torch.no_grad():
        outputs = model(data.val_set.tensors[0])
    print(f"val PSNR {result['val_psnr']:.2f} dB, KL {result['val_kl']:.4f}, spread of the reconstructions {outputs.std(0).mean():.4f} (of the slices {data.val_set.tensors[0].std(0).mean():.4f})")


if __name__ == "__main__":
    main()

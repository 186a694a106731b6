"""Linear probing of an encoder that was trained on fractures, on the few radiographs that have a bone age.

1. the encoder learns with many labels (fracture or not, side, position), 2. a regression head on top of it, encoder kept as it is.
"""
import logging
import warnings

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", ".*does not have many workers.*")


def hands(n, seed, size=40):
    """A bone with a growth plate; targets: angle, place, width (for step 1) and age (for step 2), all in about [-1, 1]."""
    gen = torch.Generator().manual_seed(seed)
    ax = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(ax, ax, indexing="ij")
    images, shape, age = [], [], []
    for _ in range(n):
        u = 2 * torch.rand(6, generator=gen) - 1
        angle = 0.4 * u[0]
        across = torch.cos(angle) * (xx - 0.3 * u[1]) + torch.sin(angle) * yy
        along = torch.cos(angle) * yy - torch.sin(angle) * (xx - 0.3 * u[1])
        half = 0.25 + 0.08 * u[2]
        bone = (across.abs() < half + 0.1 * (along.abs() > 0.6)).float() * 0.6
        gap = 0.035 + 0.03 * u[3]
        bone = bone * (1 - 0.8 * torch.exp(-((along - 0.35 - 0.15 * u[4]) ** 2) / (2 * gap**2)))
        images.append((bone + 0.15 + 0.12 * torch.randn(size, size, generator=gen))[None])
        shape.append(torch.stack([u[0], u[1], u[2], u[3], u[4]]))
        age.append(0.7 * -u[3] + 0.3 * u[2] + 0.2 * torch.randn((), generator=gen))
    return (torch.stack(images) - 0.35) / 0.3, torch.stack(shape), torch.stack(age)


class ConvEncoder(nn.Module):
    def __init__(self, ch=12, out_features=64):
        super().__init__()
        self.out_features = out_features
        self.body = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.GroupNorm(4, ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.GroupNorm(4, 2 * ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.GroupNorm(4, 2 * ch), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * ch * 25, out_features), nn.ReLU())

    def forward(self, x):
        return self.body(x)


class ShapeModel(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = ConvEncoder()
        self.head = nn.Linear(self.encoder.out_features, 5)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.head(self.encoder(x)), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_mse", F.mse_loss(self.head(self.encoder(x)), y), on_epoch=True)

    def on_validation_epoch_end(self):
        print(f"shape: epoch {self.current_epoch} val mse {self.trainer.callback_metrics['val_mse']:.4f}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


class AgeModel(L.LightningModule):
    def __init__(self, encoder, frozen=True, lr=3e-3):
        super().__init__()
        self.encoder, self.lr = encoder, lr
        if frozen:
            self.encoder.requires_grad = False
        self.head = nn.Linear(encoder.out_features, 1)

    def forward(self, x):
        return self.head(self.encoder(x)).squeeze(1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_mae", (self(x) - y).abs().mean(), on_epoch=True)

    def on_validation_epoch_end(self):
        print(f"age: epoch {self.current_epoch} val mae {self.trainer.callback_metrics['val_mae']:.4f}")

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr)


def trainer(epochs, every):
    return L.Trainer(max_epochs=epochs, check_val_every_n_epoch=every, accelerator="cpu", logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)


def main():
    L.seed_everything(0, verbose=False)
    x, shape, _ = hands(500, 1)
    vx, vshape, vage = hands(150, 2)
    first = ShapeModel()
    trainer(12, 3).fit(first, DataLoader(TensorDataset(x, shape), 20, shuffle=True), DataLoader(TensorDataset(vx, vshape), 50))
    fx, _, fage = hands(60, 3)
    second = AgeModel(first.encoder)
    trainer(50, 10).fit(second, DataLoader(TensorDataset(fx, fage), 12, shuffle=True), DataLoader(TensorDataset(vx, vage), 50))
    torch.save(second.state_dict(), "bone_age.pt")


if __name__ == "__main__":
    main()

"""Next-frame prediction of cardiac cine loops with Lightning and a one-cycle schedule."""
import logging
import warnings

import lightning as L
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

SIZE, PAST, FUTURE = 24, 4, 2


def loops(n, seed):
    """(n, PAST + FUTURE, SIZE, SIZE) beating ventricles."""
    gen = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = lambda a, b: a + (b - a) * torch.rand(n, 1, 1, 1, generator=gen)
    t = torch.arange(PAST + FUTURE).view(1, -1, 1, 1)
    phase = u(0, 6.28) + u(0.6, 1.1) * t
    radius = u(0.35, 0.5) * (1 + 0.35 * torch.sin(phase))
    d = ((yy - u(-0.2, 0.2)) ** 2 + ((xx - u(-0.2, 0.2) - 0.05 * torch.cos(phase)) / u(0.9, 1.2)) ** 2).sqrt()
    frame = 0.2 + 0.7 * torch.sigmoid((radius - d) * 15) - 0.3 * torch.sigmoid((radius + 0.18 - d) * 15) * torch.sigmoid((d - radius) * 15)
    return frame + 0.02 * torch.randn(frame.shape, generator=gen)


class Predictor(nn.Module):
    def __init__(self, ch=32):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(PAST, ch, 3, 2, 1), nn.GroupNorm(4, ch), nn.SiLU(), nn.Conv2d(ch, ch, 3, 1, 1), nn.SiLU())
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(ch, ch, 5, padding=2, groups=ch), nn.GroupNorm(4, ch), nn.Conv2d(ch, 2 * ch, 1), nn.SiLU(), nn.Conv2d(2 * ch, ch, 1)) for _ in range(3))
        self.dec = nn.Sequential(nn.ConvTranspose2d(ch, ch, 4, 2, 1), nn.SiLU(), nn.Conv2d(ch, FUTURE, 3, padding=1))

    def forward(self, x):
        h = self.enc(x)
        for block in self.blocks:
            h = h + block(h)
        return self.dec(h)


class CineModule(L.LightningModule):
    def __init__(self, lr, epochs, steps_per_epoch):
        super().__init__()
        self.save_hyperparameters()
        self.model = Predictor()

    def training_step(self, batch, _):
        loss = F.mse_loss(self.model(batch[0][:, :PAST]), batch[0][:, PAST:])
        self.log("train_mse", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        past, future = batch[0][:, :PAST], batch[0][:, PAST:]
        self.log("val_mse", F.mse_loss(self.model(past), future))
        self.log("val_copy_mse", F.mse_loss(past[:, -1:].expand_as(future), future))

    def on_validation_epoch_end(self):
        m = self.trainer.callback_metrics
        print(f"epoch {self.current_epoch} val_mse {m['val_mse']:.5f} last_frame_mse {m['val_copy_mse']:.5f}")

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=1e-2)
        scheduler = OneCycleLR(optimizer, max_lr=self.hparams.lr, epochs=self.hparams.epochs, steps_per_epoch=self.hparams.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def lr_scheduler_step(self, scheduler, *args, **kwargs):
        scheduler.step()


def main():
    L.seed_everything(1, verbose=False)
    train = DataLoader(TensorDataset(loops(512, 1)), batch_size=16, shuffle=True, drop_last=True)
    val = DataLoader(TensorDataset(loops(128, 2)), batch_size=32)
    module = CineModule(lr=3e-3, epochs=12, steps_per_epoch=len(train))
    trainer = L.Trainer(max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(module, train, val)


if __name__ == "__main__":
    main()

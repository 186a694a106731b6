"""Heart rate from face video: physiological and other features are disentangled by cross-verification (Lightning)."""
import lightning as L
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

REGIONS, FRAMES, RATE = 8, 128, 20.0


def simulate_maps(subjects, clips, seed):
    """Region by time maps of the colour signal; the pulse is common to all regions, motion and lighting are not."""
    rng = np.random.default_rng(seed)
    time = np.arange(FRAMES) / RATE
    maps, rates = [], []
    for _ in range(subjects):
        tone = rng.uniform(0.5, 1.0, REGIONS)
        for _ in range(clips):
            bpm = rng.uniform(50, 120)
            phase = 2 * np.pi * (bpm / 60 * time + rng.random())
            pulse = np.sin(phase) + 0.35 * np.sin(2 * phase + 0.5)
            motion = np.sin(2 * np.pi * (rng.uniform(0.15, 0.6) * time + rng.random()))
            light = np.cumsum(rng.normal(0, 0.08, FRAMES))
            signal = tone[:, None] * pulse + rng.uniform(-1.5, 1.5, REGIONS)[:, None] * motion + light
            signal += rng.normal(0, 0.5, signal.shape)
            signal = (signal - signal.mean(1, keepdims=True)) / (signal.std(1, keepdims=True) + 1e-6)
            maps.append(signal)
            rates.append(bpm)
    return torch.tensor(np.array(maps), dtype=torch.float32), torch.tensor(rates, dtype=torch.float32)


class Encoder(nn.Module):
    def __init__(self, width=32, features=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(REGIONS, width, 7, stride=2, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 7, stride=2, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
        )
        self.physiological = nn.Conv1d(width, features, 1)
        self.other = nn.Conv1d(width, features, 1)

    def forward(self, maps):
        h = self.body(maps)
        return self.physiological(h), self.other(h)


class Decoder(nn.Module):
    def __init__(self, width=32, features=16):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2 * features, width, 5, padding=2), nn.ReLU(), nn.Upsample(scale_factor=2, mode="linear"),
            nn.Conv1d(width, width, 5, padding=2), nn.ReLU(), nn.Upsample(scale_factor=2, mode="linear"),
            nn.Conv1d(width, REGIONS, 5, padding=2),
        )

    def forward(self, physiological, other):
        return self.body(torch.cat([physiological, other], 1))


class RateHead(nn.Module):
    def __init__(self, features=16, width=48):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(features, width, 13, padding=6), nn.ReLU(), nn.Conv1d(width, width, 5, padding=2), nn.ReLU())
        self.out = nn.Linear(width, 1)

    def forward(self, physiological):
        return self.out(self.conv(physiological).mean(-1)).squeeze(-1)


class CrossLoss(nn.Module):
    """What comes back from maps with exchanged features has to agree with what was put in."""

    def __init__(self, lambda_hr=1.0, lambda_fhr=5.0, lambda_fn=1.0):
        super().__init__()
        self.lambda_hr, self.lambda_fhr, self.lambda_fn = lambda_hr, lambda_fhr, lambda_fn

    def forward(self, first, second):
        loss_hr1, loss_fhr1, loss_fn1 = self.distances(*first)
        loss_hr2, loss_fhr2, loss_fn2 = self.distances(*second)
        total = (
            self.lambda_hr * (loss_hr1 + loss_hr2) / 2
            + self.lambda_fhr * (loss_fhr1 + loss_fhr2) / 2
            + self.lambda_fn * (loss_fn1 + loss_fn2) / 2
        )
        return total, (loss_fhr1 + loss_fhr2) / 2

    @staticmethod
    def distances(given, returned):
        return tuple(F.l1_loss(back, put) for put, back in zip(given, returned))


class PulseNet(L.LightningModule):
    def __init__(self, lr=2e-3):
        super().__init__()
        self.lr = lr
        self.encoder, self.decoder, self.head = Encoder(), Decoder(), RateHead()
        self.cross_loss = CrossLoss()
        self.seen = []

    def cross(self, physiological, other, rate):
        """Gives every clip the other features of its neighbour in the batch, and looks what the encoder finds there."""
        foreign = other.roll(1, 0)
        back_physiological, back_other = self.encoder(self.decoder(physiological, foreign))
        return (rate, physiological, foreign), (self.head(back_physiological), back_physiological, back_other)

    def step(self, maps, rate):
        physiological, other = self.encoder(maps)
        estimate = self.head(physiological)
        first = self.cross(physiological, other, rate)
        second = self.cross(physiological.flip(0), other, rate.flip(0))
        cross, returned = self.cross_loss(first, second)
        loss = F.l1_loss(estimate, rate) + F.l1_loss(self.decoder(physiological, other), maps) + 0.5 * cross
        spread = (physiological - physiological.mean(0)).abs().mean()
        return loss, estimate, returned / spread

    def training_step(self, batch, _):
        maps, bpm = batch
        loss, _, _ = self.step(maps, (bpm - 85) / 20)
        return loss

    def validation_step(self, batch, _):
        maps, bpm = batch
        loss, estimate, returned = self.step(maps, (bpm - 85) / 20)
        error = (estimate * 20 + 85 - bpm).abs().mean()
        self.seen.append((loss.item(), error.item(), returned.item()))

    def on_validation_epoch_end(self):
        loss, error, returned = np.mean(self.seen, axis=0)
        self.seen.clear()
        if not self.trainer.sanity_checking:
            print(f"epoch {self.current_epoch + 1} validation: loss {loss:.4f} MAE {error:.2f} bpm, change of the pulse features {returned:.3f}")

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)}


def main():
    L.seed_everything(5)
    train_loader = DataLoader(TensorDataset(*simulate_maps(80, 12, 1)), batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(*simulate_maps(20, 16, 2)), batch_size=32)
    trainer = L.Trainer(
        max_epochs=11, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(PulseNet(), train_loader, val_loader)


if __name__ == "__main__":
    main()

"""Filter the phase of radar interferograms and estimate their coherence."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def smooth_field(rng, size, cells):
    coarse = torch.tensor(rng.normal(0, 1, (1, 1, cells, cells)), dtype=torch.float32)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)[0, 0].numpy()


class InterferogramSet(Dataset):
    """Simulated pairs of acquisitions: ground phase, coherence, and the noisy interferogram they give."""

    def __init__(self, count, seed, size=48):
        rng = np.random.default_rng(seed)
        self.items = [self.simulate(rng, size) for _ in range(count)]

    @staticmethod
    def simulate(rng, size):
        rows, cols = np.mgrid[:size, :size] / size - 0.5
        phase = 2.2 * smooth_field(rng, size, 5) + rng.normal(0, 8) * rows + rng.normal(0, 8) * cols
        coherence = 1 / (1 + np.exp(-(1.0 + 1.3 * smooth_field(rng, size, 6))))
        noise = (rng.normal(size=(2, size, size)) + 1j * rng.normal(size=(2, size, size))) / np.sqrt(2)
        first = noise[0]
        second = (coherence * noise[0] + np.sqrt(1 - coherence**2) * noise[1]) * np.exp(-1j * phase)
        product = first * second.conj()
        ifg = product / np.sqrt(abs(product) + 1e-6)
        clean = np.exp(1j * phase)
        maps = {"ifg_real": ifg.real, "ifg_imag": ifg.imag, "slc1": abs(first), "slc2": abs(second),
                "clean_real": clean.real, "clean_imag": clean.imag, "coh": coherence}
        return {key: torch.tensor(value, dtype=torch.float32)[None] for key, value in maps.items()}

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class DenseBlock(nn.Module):
    def __init__(self, channels, growth=12, layers=3):
        super().__init__()
        self.layers = nn.ModuleList()
        for k in range(layers):
            width = channels + k * growth
            self.layers.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, growth, 3, padding=1 + k, dilation=1 + k)))
        self.out_channels = channels + layers * growth

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Head(nn.Module):
    def __init__(self, channels, width=16):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, x):
        return self.block(x)


class InSARFilter(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.hparams = hparams
        dense = DenseBlock(16)
        self.fe = nn.Sequential(nn.Conv2d(4, 16, 7, padding=3), dense)
        self.ae_r = Head(dense.out_channels)
        self.ae_i = Head(dense.out_channels)
        self.coh = Head(dense.out_channels)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=hparams.lr)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, hparams.epochs)

    @staticmethod
    def observe(batch):
        return torch.cat([batch["ifg_real"], batch["ifg_imag"], batch["slc1"], batch["slc2"]], dim=1)

    def forward(self, observation):
        features = self.fe(observation)
        return self.ae_r(features), self.ae_i(features), self.coh(features)

    def fit_step(self, batch):
        observation = self.observe(batch)
        real, imag, coh = self(observation)
        loss_r = ((batch["clean_real"] - observation[:, 0:1] - real) ** 2).mean() / 2
        loss_i = ((batch["clean_imag"] - observation[:, 1:2] - imag) ** 2).mean() / 2
        loss_coh = ((batch["coh"] - torch.sigmoid(coh)) ** 2).mean() / 2
        loss = loss_r + loss_i + self.hparams.coh_weight * loss_coh
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss_r.item(), loss_i.item(), loss_coh.item()

    @torch.no_grad()
    def predict(self, batch):
        observation = self.observe(batch)
        real, imag, coh = self(observation)
        return observation[:, 0:1] + real, observation[:, 1:2] + imag, torch.sigmoid(coh)


def evaluate(model, loader):
    model.eval()
    phase_errors, coh_errors, raw_errors = [], [], []
    for batch in loader:
        real, imag, coh = model.predict(batch)
        truth = torch.atan2(batch["clean_imag"], batch["clean_real"])
        for store, (re, im) in ((phase_errors, (real, imag)), (raw_errors, (batch["ifg_real"], batch["ifg_imag"]))):
            difference = torch.atan2(im, re) - truth
            store.append(torch.atan2(difference.sin(), difference.cos()) ** 2)
        coh_errors.append((coh - batch["coh"]) ** 2)
    return [torch.cat(errors).mean().sqrt().item() for errors in (phase_errors, coh_errors, raw_errors)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--coh_weight", type=float, default=1.0)
    hparams = parser.parse_args()
    torch.manual_seed(1)
    train_loader = DataLoader(InterferogramSet(160, 10), hparams.batch_size, shuffle=True)
    test_loader = DataLoader(InterferogramSet(40, 11), 20)
    model = InSARFilter(hparams)
    for epoch in range(1, hparams.epochs + 1):
        model.train()
        losses = np.mean([model.fit_step(batch) for batch in train_loader], axis=0)
        model.scheduler.step()
        phase, coh, raw = evaluate(model, test_loader)
        print("epoch {} r_loss:{:.4f}, i_loss:{:.4f}, coh_loss:{:.4f}".format(epoch, *losses)
              + f" | test phase RMSE {phase:.3f} rad (unfiltered {raw:.3f}), coherence RMSE {coh:.3f}")
    torch.save(model.state_dict(), "insar.pth")


if __name__ == "__main__":
    main()

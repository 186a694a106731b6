"""CT from MR with a conditional GAN: absolute error and a least squares adversarial term, module with two optimisers."""
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

HP = SimpleNamespace(size=24, train=256, val=48, batch=8, epochs=10, lr=1e-3, lambda_l1=3.0, width=12)


def paired_slices(count, seed, size=HP.size):
    """MR shows smooth tissue; CT shows the same tissue with bone whose grain cannot be seen in the MR."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    sources, targets = [], []
    for _ in range(count):
        cx, cy, a, b = *rng.uniform(-0.2, 0.2, 2), *rng.uniform(0.55, 0.8, 2)
        radius = np.hypot((xx - cx) / a, (yy - cy) / b)
        bone = 1 / (1 + np.exp(-(radius - 0.45) * 20)) / (1 + np.exp((radius - 1) * 20))
        marrow = 1 / (1 + np.exp((radius - 0.45) * 20))
        source = 0.3 * bone + 0.9 * marrow + 0.2 * np.sin(3 * xx + rng.uniform(0, 6)) + rng.normal(0, 0.03, xx.shape)
        grain = rng.normal(0, 1, (size + 1, size + 1))
        grain = (grain[1:, 1:] + grain[:-1, 1:] + grain[1:, :-1] + grain[:-1, :-1]) / 2
        target = -0.6 + 0.9 * bone + 0.3 * marrow + 0.3 * bone * grain
        sources.append(source - 0.3)
        targets.append(target)
    stack = lambda images: torch.tensor(np.stack(images), dtype=torch.float32)[:, None]
    return TensorDataset(stack(sources), stack(targets))


def conv(c_in, c_out, stride=1):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.InstanceNorm2d(c_out, affine=True), nn.LeakyReLU(0.2))


class Generator(nn.Module):
    """U-shaped; a second channel holds noise."""

    def __init__(self, width):
        super().__init__()
        self.enter, self.down = conv(2, width), conv(width, 2 * width, 2)
        self.deep, self.up = conv(2 * width, 2 * width), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.out = nn.Sequential(conv(2 * width, width), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, source):
        a = self.enter(torch.cat([source, torch.randn_like(source)], 1))
        return self.out(torch.cat([a, self.up(self.deep(self.down(a)))], 1))


class Discriminator(nn.Module):
    """Judges small patches of the pair."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 3, 1, 1)
        )

    def forward(self, source, target):
        return self.net(torch.cat([source, target], 1))


class TranslationModule(nn.Module):
    def __init__(self, hp):
        super().__init__()
        self.hp = hp
        self.g, self.d = Generator(hp.width), Discriminator(hp.width)
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=hp.lr, betas=(0.5, 0.999)) for net in (self.g, self.d)]

    def generator_step(self, source, real, fake):
        score = self.d(source, fake.detach())
        adversarial = F.mse_loss(score, torch.ones_like(score))
        l1 = F.l1_loss(fake, real)
        return adversarial + self.hp.lambda_l1 * l1, {"g_adv": adversarial.item(), "l1": l1.item()}

    def discriminator_step(self, source, real, fake):
        on_real, on_fake = self.d(source, real), self.d(source, fake.detach())
        loss = 0.5 * (F.mse_loss(on_real, torch.ones_like(on_real)) + F.mse_loss(on_fake, torch.zeros_like(on_fake)))
        return loss, {"d_loss": loss.item()}

    def training_step(self, source, real):
        fake = self.g(source)
        logs = {}
        for optimizer, step in zip(self.optimizers, (self.generator_step, self.discriminator_step)):
            loss, values = step(source, real, fake)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            logs.update(values)
        return logs

    @torch.no_grad()
    def validation(self, loader):
        """Absolute error, and the strength of fine detail relative to that of the real images."""
        self.eval()
        kernel = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
        errors, made, wanted = [], [], []
        for source, real in loader:
            fake = self.g(source)
            errors.append(F.l1_loss(fake, real).item())
            made.append(F.conv2d(fake, kernel).square().mean().item())
            wanted.append(F.conv2d(real, kernel).square().mean().item())
        return {"val_l1": np.mean(errors), "detail": np.sqrt(np.mean(made) / np.mean(wanted))}


def main(hp=HP):
    torch.manual_seed(6)
    train_loader = DataLoader(paired_slices(hp.train, 40), hp.batch, shuffle=True, drop_last=True)
    val_loader = DataLoader(paired_slices(hp.val, 41), hp.batch)
    module = TranslationModule(hp)
    for epoch in range(hp.epochs):
        module.train()
        logs = [module.training_step(source, real) for source, real in train_loader]
        if (epoch + 1) % 2 == 0:
            values = {key: np.mean([log[key] for log in logs]) for key in logs[0]}
            values.update(module.validation(val_loader))
            print(f"epoch {epoch + 1:2d} " + " ".join(f"{key} {value:.4f}" for key, value in values.items()))


if __name__ == "__main__":
    main()

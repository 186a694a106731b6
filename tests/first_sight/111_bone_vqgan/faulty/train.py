"""VQGAN for patches of trabecular bone CT: reconstruction, codebook and adversarial loss."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def bone_patches(count, seed, size=32):
    """Cortical shell around a spongy core with thin bright struts, intensities in [-1, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    patches = np.empty((count, 1, size, size), np.float32)
    for i in range(count):
        cx, cy = rng.uniform(-0.15, 0.15, 2)
        a, b = rng.uniform(0.65, 0.9, 2)
        radius = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2)
        density = rng.uniform(0.1, 0.4)
        struts = np.zeros((size, size))
        for _ in range(3):
            angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
            wave = np.cos(rng.uniform(11, 15) * (x * np.cos(angle) + y * np.sin(angle)) + phase)
            struts = np.maximum(struts, (wave > 0.8) * rng.uniform(0.6, 1.0))
        core = (radius < 0.85) * (density + 0.7 * struts)
        shell = ((radius >= 0.85) & (radius < 1.0)) * 1.3
        patches[i, 0] = np.clip(core + shell + rng.normal(0, 0.03, (size, size)), 0, 1.4) / 0.7 - 1
    return torch.from_numpy(patches)


class Quantizer(nn.Module):
    def __init__(self, codes, dim, beta=0.25):
        super().__init__()
        self.codebook = nn.Embedding(codes, dim)
        nn.init.uniform_(self.codebook.weight, -0.5, 0.5)
        self.beta = beta

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        index = torch.cdist(flat, self.codebook.weight).argmin(1)
        q = self.codebook(index).view(z.shape[0], z.shape[2], z.shape[3], -1).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss, index


class Autoencoder(nn.Module):
    def __init__(self, width=24, codes=64, dim=8):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.GroupNorm(4, width), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.GroupNorm(4, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, dim, 1),
        )
        self.quantizer = Quantizer(codes, dim)
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, 2 * width, 3, 1, 1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.GroupNorm(4, width), nn.SiLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 1, 3, 1, 1), nn.Tanh(),
        )

    def forward(self, x):
        q, loss, index = self.quantizer(self.encoder(x))
        return self.decoder(q), loss, index


class PatchDiscriminator(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.GroupNorm(4, 2 * width), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 3, 1, 1),
        )

    def forward(self, x):
        return self.net(x)


class AdversarialLoss:
    """Losses of discriminator and generator in the hinge or the non-saturating form, on logits of patches."""

    def __init__(self, kind):
        if kind not in ("hinge", "non-saturating"):
            raise ValueError(f"unknown adversarial loss {kind!r}, expected 'hinge' or 'non-saturating'")
        self.kind = kind

    def discriminator(self, logits_real, logits_fake):
        if self.kind == "hinge":
            real_loss, fake_loss = F.relu(1.0 - logits_real).mean(), F.relu(1.0 + logits_fake).mean()
        else:
            real_loss = F.binary_cross_entropy_with_logits(logits_real, torch.ones_like(logits_real))
            fake_loss = F.binary_cross_entropy_with_logits(logits_fake, torch.ones_like(logits_fake))
        return 0.5 * (real_loss + fake_loss)

    def generator(self, logits_fake):
        if self.kind == "hinge":
            return -logits_fake.mean()
        return F.binary_cross_entropy_with_logits(logits_fake, torch.ones_like(logits_fake))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model, self.disc = Autoencoder(), PatchDiscriminator()
        self.adversarial = AdversarialLoss(args.loss)
        self.opt_g = torch.optim.Adam(self.model.parameters(), lr=args.lr, betas=(0.5, 0.9))
        self.opt_d = torch.optim.Adam(self.disc.parameters(), lr=args.lr, betas=(0.5, 0.9))

    def generator_step(self, x, use_gan):
        recon, codebook_loss, _ = self.model(x)
        loss = F.l1_loss(recon, x) + codebook_loss
        if use_gan:
            self.disc.requires_grad_(False)
            loss = loss + self.args.adv_weight * self.adversarial.generator(self.disc(recon))
            self.disc.requires_grad_(True)
        self.opt_g.zero_grad()
        loss.backward()
        self.opt_g.step()
        return recon.detach(), loss.item()

    def discriminator_step(self, real, fake):
        loss = self.adversarial.discriminator(self.disc(real), self.disc(fake))
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        return loss.item()

    def fit(self, train_loader, val_loader):
        for epoch in range(self.args.epochs):
            self.model.train()
            self.disc.train()
            use_gan = epoch >= self.args.gan_start
            losses_g, losses_d = [], []
            for (x,) in train_loader:
                recon, loss_g = self.generator_step(x, use_gan)
                losses_g.append(loss_g)
                if use_gan:
                    losses_d.append(self.discriminator_step(x, recon))
            metrics = self.evaluate(val_loader)
            loss_d = f"{np.mean(losses_d):.4f}" if losses_d else "-"
            shown = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            print(f"epoch {epoch + 1:2d} loss G {np.mean(losses_g):.4f} loss D {loss_d} {shown}")
        return metrics

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        self.disc.eval()
        l1, edges_real, edges_fake, correct, count, used = 0.0, 0.0, 0.0, 0.0, 0, set()
        for (x,) in loader:
            recon, _, index = self.model(x)
            used.update(index.tolist())
            l1 += F.l1_loss(recon, x).item() * len(x)
            edges_real += (x[..., 1:] - x[..., :-1]).abs().mean().item() * len(x)
            edges_fake += (recon[..., 1:] - recon[..., :-1]).abs().mean().item() * len(x)
            right = (self.disc(x) > 0).float().mean() + (self.disc(recon) < 0).float().mean()
            correct += right.item() / 2 * len(x)
            count += len(x)
        return {"L1": l1 / count, "sharpness": edges_fake / edges_real, "D accuracy": correct / count, "codes": float(len(used))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--gan-start", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--adv-weight", type=float, default=0.1)
    parser.add_argument("--loss", default="non-saturating")
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    train_loader = DataLoader(TensorDataset(bone_patches(640, 1)), batch_size=args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(bone_patches(128, 2)), batch_size=64)
    metrics = Trainer(args).fit(train_loader, val_loader)
    print("final: " + " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()

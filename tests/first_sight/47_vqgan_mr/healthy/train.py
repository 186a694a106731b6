# %% [markdown]
# # VQGAN on 2-D MR slices
# Compress, quantise, decode; a patch discriminator sharpens what comes out.

# %%
import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from monai.utils import set_determinism
from torch.utils.data import DataLoader, TensorDataset

set_determinism(42)

# %% Data: skulls with folded cortex and ventricles, [0, 1]
SIZE = 32


def brains(n, seed):
    gen = torch.Generator().manual_seed(seed)
    ax = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(ax, ax, indexing="ij")
    out = []
    for _ in range(n):
        u = torch.rand(10, generator=gen)
        a, b = 0.75 + 0.15 * u[0], 0.6 + 0.15 * u[1]
        rho = ((yy / a) ** 2 + (xx / b) ** 2).sqrt()
        phi = torch.atan2(yy, xx)
        image = 0.9 * ((rho < 1) & (rho > 0.9)).float() + (rho < 0.86) * (0.45 + 0.1 * u[2])
        image = image + 0.18 * (rho < 0.86) * (rho > 0.5) * torch.sign(torch.sin(14 * phi + 5 * u[3] + 6 * rho))
        for side in (-1, 1):
            image[((yy - 0.1 * u[4]) / (0.2 + 0.15 * u[5])) ** 2 + ((xx - side * 0.14) / (0.06 + 0.05 * u[6])) ** 2 < 1] = 0.08
        image = image + 0.06 * torch.randn(SIZE, SIZE, generator=gen) * (rho < 0.86)
        out.append(image.clamp(0, 1)[None])
    return torch.stack(out)


train_loader = DataLoader(TensorDataset(brains(400, 0)), batch_size=16, shuffle=True, drop_last=True)
val_loader = DataLoader(TensorDataset(brains(64, 1)), batch_size=16)

# %% Networks


class VectorQuantizer(nn.Module):
    """Codebook learnt by its own loss, straight-through to the encoder."""

    def __init__(self, number, dim, beta=0.25):
        super().__init__()
        self.codes = nn.Embedding(number, dim)
        nn.init.uniform_(self.codes.weight, -1, 1)
        self.beta = beta

    def forward(self, z):
        flat = z.movedim(1, -1)
        index = torch.cdist(flat.reshape(-1, z.shape[1]), self.codes.weight).argmin(1)
        quantised = self.codes(index).view(flat.shape).movedim(-1, 1)
        loss = F.mse_loss(quantised, z.detach()) + self.beta * F.mse_loss(z, quantised.detach())
        return z + (quantised - z).detach(), loss


class VQVAE(nn.Module):
    def __init__(self, ch=24, dim=8, number=64):
        super().__init__()
        self.encoder = nn.Sequential(
            Convolution(2, 1, ch, strides=2, norm="batch", act="relu"), Convolution(2, ch, ch, strides=2, norm="batch", act="relu"), nn.Conv2d(ch, dim, 1))
        self.quantizer = VectorQuantizer(number, dim)
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, ch, 3, padding=1), nn.ReLU(),
            Convolution(2, ch, ch, strides=2, is_transposed=True, norm="batch", act="relu"),
            Convolution(2, ch, ch, strides=2, is_transposed=True, norm="batch", act="relu"), nn.Conv2d(ch, 1, 3, padding=1))

    def forward(self, images):
        quantised, loss = self.quantizer(self.encoder(images))
        return self.decoder(quantised), loss


class PatchDiscriminator(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, ch, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(ch, 2 * ch, 4, 2, 1), nn.BatchNorm2d(2 * ch), nn.LeakyReLU(0.2), nn.Conv2d(2 * ch, 1, 3, 1, 1))

    def forward(self, x):
        return self.net(x)


model, discriminator = VQVAE(), PatchDiscriminator()
optimizer_g = torch.optim.Adam(model.parameters(), lr=1e-3)
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=5e-4)
l1_loss, adv_loss = nn.L1Loss(), nn.MSELoss()
adv_weight, n_epochs, val_interval = 0.01, 10, 2

# %% Training
for epoch in range(n_epochs):
    model.train()
    discriminator.train()
    sums = torch.zeros(3)
    for (images,) in train_loader:
        optimizer_g.zero_grad(set_to_none=True)
        reconstruction, quantization_loss = model(images)
        logits_fake = discriminator(reconstruction)
        recons_loss = l1_loss(reconstruction, images)
        generator_loss = adv_loss(logits_fake, torch.ones_like(logits_fake))
        loss_g = recons_loss + quantization_loss + adv_weight * generator_loss
        loss_g.backward()
        optimizer_g.step()

        optimizer_d.zero_grad(set_to_none=True)
        logits_fake = discriminator(reconstruction.detach())
        logits_real = discriminator(images)
        loss_d = 0.5 * (adv_loss(logits_fake, torch.zeros_like(logits_fake)) + adv_loss(logits_real, torch.ones_like(logits_real)))
        loss_d.backward()
        optimizer_d.step()
        sums += torch.tensor([recons_loss.item(), generator_loss.item(), loss_d.item()])
    rec, gen, disc = (sums / len(train_loader)).tolist()
    print(f"epoch {epoch:2d} recons {rec:.4f} gen {gen:.4f} disc {disc:.4f}")

    if (epoch + 1) % val_interval == 0:
        model.eval()
        discriminator.eval()
        val_loss = apart = 0.0
        with torch.no_grad():
            for (images,) in val_loader:
                reconstruction, _ = model(images)
                val_loss += l1_loss(reconstruction, images).item() / len(val_loader)
                apart += (discriminator(images) - discriminator(reconstruction)).mean().item() / len(val_loader)
        print(f"   val recons {val_loss:.4f}  real - fake score {apart:.3f}")

# %%
torch.save(model.state_dict(), "vqgan.pt")

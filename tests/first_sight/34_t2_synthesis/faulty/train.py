# %% [markdown]
# # T2 from T1
# Conditional GAN with least squares and feature matching in the discriminator, 32 x 32 slices.

# %%
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
EPOCHS, BATCH, MATCH = 9, 10, 10.0


# %%
def slices(n, seed, size=32):
    """T1 and T2 of the same head: fluid dark and bright, fat bright and dark, lesions only plain in T2."""
    g = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = torch.rand(8, n, 1, 1, generator=g)
    head = ((yy / (0.75 + 0.15 * u[0])) ** 2 + (xx / (0.6 + 0.15 * u[1])) ** 2)
    t1, t2 = torch.full((n, size, size), -0.9), torch.full((n, size, size), -0.9)
    for region, a, b in ((head < 1, 0.8, -0.3), (head < 0.8, 0.1, 0.0), (head < 0.5, 0.45, -0.35)):
        t1, t2 = torch.where(region, torch.tensor(a), t1), torch.where(region, torch.tensor(b), t2)
    fluid = ((yy - 0.3 * u[2] + 0.15) / (0.15 + 0.2 * u[3])) ** 2 + ((xx.abs() - 0.14) / (0.06 + 0.06 * u[4])) ** 2 < 1
    t1, t2 = torch.where(fluid, torch.tensor(-0.6), t1), torch.where(fluid, torch.tensor(0.85), t2)
    lesion = (torch.hypot(yy - u[5] + 0.5, xx - 0.8 * u[6] + 0.4) < 0.12) & (head < 0.8)
    t1, t2 = torch.where(lesion, t1 - 0.25, t1), torch.where(lesion, torch.tensor(0.6), t2)
    return (t1 + 0.04 * torch.randn(t1.shape, generator=g)).unsqueeze(1), t2.unsqueeze(1)


t1, t2 = slices(320, 0)
val_t1, val_t2 = slices(80, 1)
print("pairs", len(t1), "a constant image would give", round((val_t2 - t2.mean()).abs().mean().item(), 4))


# %%
def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o, affine=True), nn.LeakyReLU(0.2))


class Generator(nn.Module):
    def __init__(self, ch=14):
        super().__init__()
        self.a, self.b, self.c = conv(1, ch), conv(ch, 2 * ch), conv(2 * ch, 2 * ch)
        self.d, self.e = conv(4 * ch, ch), nn.Conv2d(2 * ch, 1, 3, padding=1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.avg_pool2d(a, 2))
        c = F.interpolate(self.c(F.avg_pool2d(b, 2)), scale_factor=2)
        d = F.interpolate(self.d(torch.cat([b, c], 1)), scale_factor=2)
        return torch.tanh(self.e(torch.cat([a, d], 1)))


class Discriminator(nn.Module):
    def __init__(self, ch=14):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Conv2d(2, ch, 3, 1, 1), nn.LeakyReLU(0.2)),
                                     nn.Sequential(nn.Conv2d(ch, 2 * ch, 4, 2, 1), nn.LeakyReLU(0.2)),
                                     nn.Sequential(nn.Conv2d(2 * ch, 2 * ch, 4, 2, 1), nn.LeakyReLU(0.2))])
        self.score = nn.Conv2d(2 * ch, 1, 3, padding=1)

    def forward(self, source, image):
        h, features = torch.cat([source, image], 1), []
        for layer in self.layers:
            h = layer(h)
            features.append(h)
        return self.score(h), features


def matching(fake, real):
    return sum(F.l1_loss(a, b) for a, b in zip(fake, real)) / len(real)


# %% [markdown]
# ## Training
# The discriminator goes first.

# %%
generator, discriminator = Generator(), Discriminator()
opt_g = torch.optim.Adam(generator.parameters(), 2e-3, betas=(0.5, 0.99))
opt_d = torch.optim.Adam(discriminator.parameters(), 5e-4, betas=(0.5, 0.99))
for epoch in range(EPOCHS):
    log = []
    for idx in torch.randperm(len(t1)).split(BATCH):
        source, real = t1[idx], t2[idx]
        fake = generator(source)

        score_real, features_real = discriminator(source, real)
        score_fake, features_fake = discriminator(source, fake.detach())
        loss_d = 0.5 * (((score_real - 1) ** 2).mean() + (score_fake ** 2).mean())
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()
        features_real = [f.detach() for f in features_real]
        features_fake = [f.detach() for f in features_fake]

        score, features = discriminator(source, fake)
        adversarial, match = ((score - 1) ** 2).mean(), matching(features_fake, features_real)
        loss_g = adversarial + MATCH * match
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        log.append([loss_d.item(), adversarial.item(), match.item(), matching(features_fake, features_real).item()])
    d, a, m, before = torch.tensor(log).mean(0).tolist()
    generator.eval()
    with torch.no_grad():
        out = generator(val_t1)
    generator.train()
    print(f"epoch {epoch} loss_d {d:.4f} adversarial {a:.4f} matching {m:.4f} before {before:.4f} val_mae {(out - val_t2).abs().mean():.4f}")

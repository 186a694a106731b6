"""DCGAN on small CT patches."""
import os
import random

import torch
import torch.nn as nn
import torch.optim as optim

manualSeed = 999
random.seed(manualSeed)
torch.manual_seed(manualSeed)

nz = 16
ngf = 16
ndf = 16
batch_size = 16
num_epochs = 2
lr = 0.0002
beta1 = 0.5


class UpBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(o)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False)
        self.blocks = [UpBlock(ngf * 2, ngf * 2), UpBlock(ngf * 2, ngf)]
        self.out = nn.Conv2d(ngf, 1, 3, 1, 1)

    def forward(self, z):
        h = torch.relu(self.stem(z))
        for b in self.blocks:
            h = b(h)
        return torch.tanh(self.out(h))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1), nn.BatchNorm2d(ndf * 2), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0),
        )

    def forward(self, x):
        return self.main(x).view(-1)


def patches(n):
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    c = torch.rand(n, 2, 1, 1) - 0.5
    r = 0.3 + 0.3 * torch.rand(n, 1, 1)
    disc = (((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) < r ** 2).float()
    return (disc * 1.2 - 0.8 + 0.05 * torch.randn(n, 16, 16)).clamp(-1, 1).unsqueeze(1)


def weights_init(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif name.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


real_data = patches(640)
netG, netD = Generator(), Discriminator()
netG.apply(weights_init)
netD.apply(weights_init)
criterion = nn.BCEWithLogitsLoss()
fixed_noise = torch.randn(16, nz, 1, 1)

# Setup Adam optimizers for both G and D
optimizerD = optim.Adam(netD.parameters(), lr=lr, betas=(beta1, 0.999))
optimizerG = optim.Adam(netG.parameters(), lr=lr, betas=(beta1, 0.999))

iters = 0
for epoch in range(num_epochs):
    perm = torch.randperm(len(real_data))
    for i in range(0, len(real_data), batch_size):
        # (1) Update D network: maximize log(D(x)) + log(1 - D(G(z)))
        netD.zero_grad()
        real = real_data[perm[i:i + batch_size]]
        label = torch.ones(real.size(0))
        errD_real = criterion(netD(real), label)
        errD_real.backward()
        noise = torch.randn(real.size(0), nz, 1, 1)
        fake = netG(noise)
        errD_fake = criterion(netD(fake.detach()), torch.zeros(real.size(0)))
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()

        # (2) Update G network: maximize log(D(G(z)))
        netG.zero_grad()
        errG = criterion(netD(fake), label)
        errG.backward()
        optimizerG.step()

        if iters % 40 == 0:
            print(f"[{epoch}/{num_epochs}][{i // batch_size}] Loss_D: {errD.item():.4f} Loss_G: {errG.item():.4f}")
        iters += 1
    with torch.no_grad():
        samples = netG(fixed_noise)
    print("sample range", samples.min().item(), samples.max().item())

"""Unrolled reconstruction with hard data consistency, Cartesian undersampling, 45 x 45 single-coil phantoms."""
import math

import numpy as np
import torch
import torch.nn as nn

N = 45
DIM = (-2, -1)


def centred(transform, x):
    return torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=DIM), dim=DIM, norm="ortho"), dim=DIM)


def to_kspace(image):
    return centred(torch.fft.fftn, image)


def to_image(kspace):
    return centred(torch.fft.ifftn, kspace)


def phantoms(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[-1:1:N * 1j, -1:1:N * 1j]
    out = np.zeros((n, N, N), np.complex64)
    for k in range(n):
        img = np.zeros((N, N))
        ry, rx = rng.uniform(0.7, 0.88), rng.uniform(0.55, 0.75)
        img[(yy / ry) ** 2 + (xx / rx) ** 2 < 1] = 0.5
        for _ in range(rng.integers(5, 9)):
            cy, cx = rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)
            a, b, t = rng.uniform(0.05, 0.3), rng.uniform(0.05, 0.3), rng.uniform(0, math.pi)
            u, v = (yy - cy) * math.cos(t) + (xx - cx) * math.sin(t), (xx - cx) * math.cos(t) - (yy - cy) * math.sin(t)
            img[(u / a) ** 2 + (v / b) ** 2 < 1] += rng.uniform(-0.3, 0.4)
        phase = rng.uniform(-0.6, 0.6) + rng.uniform(-0.5, 0.5) * yy + rng.uniform(-0.5, 0.5) * xx
        out[k] = np.clip(img, 0, 1.2) * np.exp(1j * phase)
    return torch.from_numpy(out)


def sampling_mask(n, seed, acceleration=3, centre=6):
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(n, 1, N, generator=g) < (1 / acceleration - centre / N) / (1 - centre / N)
    mask[..., N // 2 - centre // 2:N // 2 + centre // 2] = True
    return mask.float()


class Refine(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, ch, 3, padding=1), nn.ReLU(), nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(ch, ch, 3, padding=1), nn.ReLU(), nn.Conv2d(ch, 2, 3, padding=1))

    def forward(self, image):
        x = torch.stack([image.real, image.imag], 1)
        x = x + self.net(x)
        return torch.complex(x[:, 0], x[:, 1])


class Cascade(nn.Module):
    def __init__(self, steps=3):
        super().__init__()
        self.steps = nn.ModuleList(Refine() for _ in range(steps))

    def forward(self, measured, mask):
        image = to_image(measured)
        for refine in self.steps:
            kspace = to_kspace(refine(image))
            image = to_image(mask * measured + (1 - mask) * kspace)
        return image


def psnr(a, b):
    err = (a - b).abs().pow(2).mean(DIM)
    return (10 * torch.log10(b.amax(DIM) ** 2 / err)).mean().item()


def main():
    torch.manual_seed(0)
    train, val = phantoms(200, 0), phantoms(40, 1)
    val_mask = sampling_mask(len(val), 99)
    val_measured = val_mask * to_kspace(val)
    net = Cascade()
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    print(f"zero filled: val_psnr {psnr(to_image(val_measured).abs(), val.abs()):.2f}")
    step = 0
    for epoch in range(5):
        net.train()
        losses = []
        for idx in torch.randperm(len(train)).split(8):
            step += 1
            image = train[idx]
            mask = sampling_mask(len(idx), step)
            out = net(mask * to_kspace(image), mask)
            loss = (out.abs() - image.abs()).abs().mean()
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            out = net(val_measured, val_mask)
        print(f"epoch {epoch} train_l1 {np.mean(losses):.4f} val_psnr {psnr(out.abs(), val.abs()):.2f}")


if __name__ == "__main__":
    main()

"""Convolutional autoencoder for anomaly detection in CT slices (HU scaled to [-1, 1])."""
import torch
import torch.nn as nn
import torch.nn.functional as F

HU_MIN, HU_MAX = -1000.0, 1000.0


def scale(hu):
    return (hu.clamp(HU_MIN, HU_MAX) - HU_MIN) / (HU_MAX - HU_MIN) * 2 - 1


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e1 = nn.Conv2d(1, 16, 4, 2, 1)
        self.e2 = nn.Conv2d(16, 8, 4, 2, 1)
        self.d1 = nn.ConvTranspose2d(8, 16, 4, 2, 1)
        self.d2 = nn.ConvTranspose2d(16, 1, 4, 2, 1)

    def encode(self, x):
        return F.leaky_relu(self.e2(F.leaky_relu(self.e1(x))))

    def decode(self, z):
        return self.d2(F.leaky_relu(self.d1(z)))

    def forward(self, x):
        rec = self.decode(self.encode(x))
        return torch.clamp(rec, 0.0, 1.0)


def slices(n, g):
    coarse = torch.rand(n, 1, 5, 5, generator=g) * 1800 - 1000
    img = F.interpolate(coarse, size=(24, 24), mode="bicubic", align_corners=False)
    img[:, :, :, :4] = -1000
    return img + 20 * torch.randn(n, 1, 24, 24, generator=g)


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    x, xv = scale(slices(128, g)), scale(slices(16, g))
    model = AE()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        for i in range(0, len(x), 8):
            rec = model(x[i:i + 8])
            loss = F.l1_loss(rec, x[i:i + 8])
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            v = F.l1_loss(model(xv), xv).item()
        model.train()
        print(f"epoch {epoch} train {loss.item():.4f} val {v:.4f} (= {v * 1000:.0f} HU)")


if __name__ == "__main__":
    main()

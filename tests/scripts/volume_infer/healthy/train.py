"""Vessel segmentation with sliding-window validation on whole volumes."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class VesselNet(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.a = nn.Conv3d(1, ch, 3, padding=1)
        self.b = nn.Conv3d(ch, ch, 3, padding=1)
        self.c = nn.Conv3d(ch, 1, 1)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def volume(seed, size=24):
    g = torch.Generator().manual_seed(seed)
    v = torch.zeros(size, size, size)
    for _ in range(4):
        a, b = torch.randint(2, size - 3, (2,), generator=g).tolist()
        axis = int(torch.randint(0, 3, (1,), generator=g))
        idx = [slice(a, a + 2), slice(b, b + 2)]
        idx.insert(axis, slice(None))
        v[tuple(idx)] = 1
    return v + 0.4 * torch.randn(v.shape, generator=g), v


def random_patch(img, lab, g, p=12):
    z, y, x = torch.randint(0, img.shape[0] - p, (3,), generator=g).tolist()
    s = (slice(z, z + p), slice(y, y + p), slice(x, x + p))
    return img[s], lab[s]


@torch.no_grad()
def sliding_window(net, img, p=12):
    net.eval()
    out = torch.zeros_like(img)
    for z in range(0, img.shape[0], p):
        for y in range(0, img.shape[1], p):
            for x in range(0, img.shape[2], p):
                logit = net(img[None, None, z:z + p, y:y + p, x:x + p])
                out[z:z + p, y:y + p, x:x + p] = logit[0, 0]
    net.train()
    return torch.sigmoid(out)


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    vols = [volume(s) for s in range(4)]
    vimg, vlab = volume(50)
    net = VesselNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for it in range(90):
        picks = [random_patch(*vols[int(torch.randint(0, 4, (1,), generator=g))], g) for _ in range(4)]
        x = torch.stack([p[0] for p in picks]).unsqueeze(1)
        y = torch.stack([p[1] for p in picks]).unsqueeze(1)
        loss = F.binary_cross_entropy_with_logits(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 30 == 29:
            prob = sliding_window(net, vimg)
            mask = prob > 0.5
            dice = 2 * (mask & (vlab > 0)).sum() / (mask.sum() + vlab.sum())
            print(f"it {it + 1} loss {loss.item():.4f} dice {dice.item():.3f} foreground {mask.float().mean().item():.4f}")


if __name__ == "__main__":
    main()

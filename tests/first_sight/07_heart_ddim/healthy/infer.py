"""Draw slices with DDIM from the trained network: python infer.py [count]"""
import sys

import torch
from torch import nn

T = 200
betas = torch.linspace(5e-4, 0.05, T)
alphas_cumprod = torch.cumprod(1 - betas, 0)


class Denoiser(nn.Module):
    """Predicts the clean slice."""

    def __init__(self, ch=20):
        super().__init__()
        self.embed = nn.Sequential(nn.Embedding(T, ch), nn.Linear(ch, ch), nn.SiLU(), nn.Linear(ch, 3 * ch))
        self.stem, self.down = nn.Conv2d(1, ch, 3, padding=1), nn.Conv2d(ch, ch, 4, 2, 1)
        self.mid = nn.Sequential(nn.SiLU(), nn.Conv2d(ch, ch, 4, 2, 1), nn.SiLU(), nn.Conv2d(ch, ch, 3, padding=1), nn.SiLU(), nn.ConvTranspose2d(ch, ch, 4, 2, 1))
        self.up = nn.ConvTranspose2d(ch, ch, 4, 2, 1)
        self.out = nn.Sequential(nn.SiLU(), nn.Conv2d(2 * ch, ch, 3, padding=1), nn.SiLU(), nn.Conv2d(ch, 1, 3, padding=1))

    def forward(self, x, t):
        e1, e2, e3 = self.embed(t)[:, :, None, None].chunk(3, 1)
        a = self.stem(x) + e1
        b = self.down(nn.functional.silu(a)) + e2
        b = b + self.mid(b)
        return self.out(torch.cat([a, self.up(nn.functional.silu(b + e3))], 1))


@torch.no_grad()
def sample(model, count, steps=20, size=16):
    model.eval()
    times = torch.linspace(T - 1, 0, steps).round().long().tolist()
    x = torch.randn(count, 1, size, size)
    for i, t in enumerate(times):
        ab = alphas_cumprod[t]
        ab_prev = alphas_cumprod[times[i + 1]] if i + 1 < steps else torch.tensor(1.0)
        model_output = model(x, torch.full((count,), t))
        pred_original = model_output.clamp(-1.2, 1.2)
        direction = (1 - ab_prev).sqrt() * (x - ab.sqrt() * pred_original) / (1 - ab).sqrt()
        x = ab_prev.sqrt() * pred_original + direction
    return x


def compare(fake, real):
    near = torch.cdist(fake.flatten(1), real.flatten(1))
    spread = fake.std(0).mean() / real.std(0).mean()
    return f"distance to nearest real {near.amin(1).mean():.3f}, real to nearest fake {near.amin(0).mean():.3f}, spread {spread:.3f}"


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    saved = torch.load("heart.pt")
    network = Denoiser()
    network.load_state_dict(saved["model"])
    torch.manual_seed(1)
    print(compare(sample(network, n), saved["held_out"]))

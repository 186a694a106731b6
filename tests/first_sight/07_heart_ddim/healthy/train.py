"""Train the slice generator, save it, and look at a sheet of samples. New samples later with: python infer.py 64"""
import torch
from torch.nn import functional as F

from infer import T, Denoiser, alphas_cumprod, compare, sample


def short_axis(n, gen):
    """(n, 1, 16, 16) short-axis heart slices in [-1, 1]."""
    axis = torch.linspace(-1, 1, 16)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    cy, cx = 0.3 * torch.rand(2, n, 1, 1, generator=gen) - 0.15
    inner = 0.25 + 0.2 * torch.rand(n, 1, 1, generator=gen)
    wall = 0.15 + 0.15 * torch.rand(n, 1, 1, generator=gen)
    d = ((yy - cy) ** 2 + (xx - cx) ** 2).sqrt()
    soft = lambda r: torch.sigmoid((r - d) * 14)
    return (-0.8 + 0.8 * soft(inner + wall) + 0.9 * soft(inner)).unsqueeze(1)


def main():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(7)
    train, held_out = short_axis(1024, gen), short_axis(256, gen)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)
    running = 0.0
    for step in range(1, 801):
        x0 = train[torch.randint(len(train), (24,))]
        t = torch.randint(T, (len(x0),))
        ab = alphas_cumprod[t].view(-1, 1, 1, 1)
        noisy = ab.sqrt() * x0 + (1 - ab).sqrt() * torch.randn_like(x0)
        loss = F.mse_loss(model(noisy, t), x0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running += loss.item() / 200
        if step % 200 == 0:
            print(f"step {step} loss {running:.4f}")
            running = 0.0
    torch.save({"model": model.state_dict(), "held_out": held_out}, "heart.pt")
    fake = sample(model, 64)
    print(compare(fake, held_out))


if __name__ == "__main__":
    main()

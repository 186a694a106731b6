"""Dose prediction from CT-derived structures, trained on 3-D patches. Whole volumes are put together in infer.py.

    python train.py --patch 16 --overlap 4
    python infer.py --weights dose.pt
"""
import argparse

import numpy as np
import torch
from torch.nn import functional as F

from infer import DoseNet, sliding_window

SHAPE = (44, 44, 28)


def plan(rng):
    """Structures (target distance, organ at risk, body) and dose relative to the prescription."""
    z = np.meshgrid(*[np.linspace(-1, 1, s) for s in SHAPE], indexing="ij")
    centre, radius = rng.uniform(-0.25, 0.25, 3), rng.uniform(0.22, 0.35)
    d = np.sqrt(sum((g - c) ** 2 for g, c in zip(z, centre)))
    body = (z[0] / 0.98) ** 2 + (z[1] / 0.98) ** 2 < 1
    angle = rng.uniform(0, 6.28)
    away = (z[0] - centre[0]) * np.cos(angle) + (z[1] - centre[1]) * np.sin(angle)
    organ = (np.abs(away - radius - 0.3) < 0.15) & (np.abs(z[2] - centre[2]) < 0.5) & body
    dose = np.where(d < radius, 1.0, 0.25 + 0.75 * np.exp(-((d - radius) / 0.3))) * (1 - 0.35 * organ) * body
    inputs = np.stack([np.clip(d - radius, -0.5, 1.5), organ, body]).astype(np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(dose.astype(np.float32))[None] + 0.01 * torch.randn(1, *SHAPE)


def draw_patches(plans, count, size):
    inputs, doses = [], []
    for _ in range(count):
        x, y = plans[np.random.randint(len(plans))]
        corner = [np.random.randint(0, s - size + 1) for s in SHAPE]
        cut = (slice(None), *[slice(c, c + size) for c in corner])
        inputs.append(x[cut])
        doses.append(y[cut])
    return torch.stack(inputs), torch.stack(doses)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--overlap", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    np.random.seed(0)
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    plans, held_out = [plan(rng) for _ in range(20)], [plan(rng) for _ in range(4)]
    net = DoseNet()
    optimizer = torch.optim.Adam(net.parameters(), args.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * args.steps)
    for epoch in range(args.epochs):
        net.train()
        total = 0.0
        for _ in range(args.steps):
            x, y = draw_patches(plans, args.batch, args.patch)
            loss = F.l1_loss(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / args.steps
        with torch.no_grad():
            x, y = draw_patches(held_out, 16, args.patch)
            patch_mae = F.l1_loss(net.eval()(x), y).item()
        line = f"epoch {epoch} loss {total:.4f} val_patch_mae {patch_mae:.4f}"
        if epoch % 3 == 2:
            whole = [sliding_window(net, x, args.patch, args.overlap) for x, _ in held_out]
            error = [F.l1_loss(w, y).item() for w, (_, y) in zip(whole, held_out)]
            worst = max((w - y).abs().max().item() for w, (_, y) in zip(whole, held_out))
            line += f" val_volume_mae {np.mean(error):.4f} largest {worst:.3f}"
        print(line)
    torch.save({"net": net.state_dict(), "plans": held_out, "patch": args.patch, "overlap": args.overlap}, "dose.pt")


if __name__ == "__main__":
    main()

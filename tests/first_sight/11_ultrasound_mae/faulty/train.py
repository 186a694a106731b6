"""Masked autoencoding of small ultrasound frames; reports how well hidden patches are filled in."""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Args:
    image: int = 24
    patch: int = 4
    dim: int = 48
    depth: int = 2
    decoder_depth: int = 1
    heads: int = 4
    masking: float = 0.6
    batch: int = 32
    epochs: int = 16
    lr: float = 2e-3


def frames(n, gen, size):
    axis = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, 1, generator=gen)
    tissue = 0.55 + 0.25 * torch.sin(u(2, 5) * yy + u(-1.5, 1.5) * xx + u(0, 6))
    d = ((yy - u(-0.4, 0.4)) ** 2 + ((xx - u(-0.4, 0.4)) / u(0.8, 1.3)) ** 2).sqrt()
    cyst = torch.sigmoid((u(0.25, 0.55) - d) * 20)
    speckle = 1 + 0.08 * torch.randn(n, size, size, generator=gen)
    return ((tissue * (1 - 0.85 * cyst)) * speckle).unsqueeze(1)


def transformer(dim, depth, heads):
    layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


class MAE(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.p, self.side = args.patch, args.image // args.patch
        self.count = self.side ** 2
        self.hidden = int(self.count * args.masking)
        self.embed = nn.Linear(self.p ** 2, args.dim)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.count, args.dim))
        self.encoder, self.decoder = transformer(args.dim, args.depth, args.heads), transformer(args.dim, args.decoder_depth, args.heads)
        self.mask_token = nn.Parameter(0.02 * torch.randn(args.dim))
        self.decoder_position = nn.Parameter(0.02 * torch.randn(self.count, args.dim))
        self.to_pixels = nn.Linear(args.dim, self.p ** 2)

    def patchify(self, x):
        b = len(x)
        return x.reshape(b, self.side, self.p, self.side, self.p).transpose(2, 3).reshape(b, self.count, -1)

    def unpatchify(self, t):
        b = len(t)
        return t.reshape(b, self.side, self.side, self.p, self.p).transpose(2, 3).reshape(b, 1, self.side * self.p, -1)

    def forward(self, x):
        """Loss on the hidden patches, all predicted patches, indices of the hidden ones."""
        patches = self.patchify(x)
        b, rows = len(x), torch.arange(len(x))[:, None]
        shuffled = torch.rand(b, self.count).argsort(1)
        masked, kept = shuffled[:, :self.hidden], shuffled[:, self.hidden:]
        encoded = self.encoder((self.embed(patches) + self.position)[rows, kept])
        mask_tokens = self.mask_token + self.decoder_position[masked]
        tokens = torch.cat([mask_tokens, encoded + self.decoder_position[kept]], 1)
        predicted = self.to_pixels(self.decoder(tokens))
        loss = F.mse_loss(predicted[:, :self.hidden], patches[rows, masked])
        return loss, predicted, masked


@torch.no_grad()
def inpaint(model, images):
    """Images with hidden patches filled in, and the hidden region."""
    _, predicted, masked = model(images)
    region = torch.zeros(len(images), model.count, model.p ** 2)
    region.scatter_(1, masked[..., None].expand(-1, -1, model.p ** 2), 1.0)
    region = model.unpatchify(region)
    return region * model.unpatchify(predicted) + (1 - region) * images, region


def main():
    args = Args()
    torch.manual_seed(4)
    gen = torch.Generator().manual_seed(0)
    train, val = frames(1200, gen, args.image), frames(200, gen, args.image)
    mean, std = train.mean(), train.std()
    train, val = (train - mean) / std, (val - mean) / std
    model = MAE(args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=0.05)
    steps = args.epochs * (len(train) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.2)
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for pick in torch.randperm(len(train)).split(args.batch)[:len(train) // args.batch]:
            loss, _, _ = model(train[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            model.eval()
            filled, region = inpaint(model, val)
            error = ((filled - val) ** 2 * region).sum() / region.sum()
            print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} inpainting_mse {error:.4f}")


if __name__ == "__main__":
    main()

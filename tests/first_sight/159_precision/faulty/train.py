"""Denoising of low-dose CT patches: a module, a precision plugin with loss scaling, and a trainer that drives both."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def phantoms(count, seed, size=20):
    """Ellipses on a smooth background, and the same with correlated noise that grows with attenuation."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    clean = np.zeros((count, 1, size, size), np.float32)
    for image in clean[:, 0]:
        image += rng.uniform(0.3, 0.5) + rng.uniform(-0.1, 0.1) * x + rng.uniform(-0.1, 0.1) * y
        for _ in range(rng.integers(2, 6)):
            cy, cx, a, b = *rng.uniform(0.1, 0.9, 2), *rng.uniform(0.06, 0.25, 2)
            image[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] += rng.uniform(-0.3, 0.4)
    noise = rng.normal(0, 1, clean.shape)
    noise = noise + 0.5 * np.roll(noise, 1, -1)
    noisy = clean + 0.12 * (0.5 + clean.clip(0, None)) * noise.astype(np.float32)
    return TensorDataset(torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(clean))


class Denoiser(nn.Module):
    def __init__(self, width=12, lr=0.1):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(width, 1, 3, 1, 1),
        )

    def forward(self, x):
        return x - self.net(x)

    def training_step(self, batch):
        noisy, clean = batch
        return 100 * nn.functional.mse_loss(self(noisy).float(), clean)

    def validation_step(self, batch):
        noisy, clean = batch
        return 10 * torch.log10(1 / (self(noisy).float() - clean).square().mean((1, 2, 3)))

    def configure_optimizers(self, steps):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps, pct_start=0.2)


class MixedPrecision:
    """Autocast for the forward pass, a scaled loss for the backward pass."""

    def __init__(self, init_scale=2.0**10):
        self.scaler = torch.amp.GradScaler("cpu", init_scale=init_scale)

    def forward(self):
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def backward(self, loss):
        self.scaler.scale(loss).backward()

    def clip(self, optimizer, parameters, limit):
        return nn.utils.clip_grad_norm_(parameters, limit)

    def step(self, optimizer):
        self.scaler.unscale_(optimizer)
        self.scaler.step(optimizer)
        self.scaler.update()


class Trainer:
    def __init__(self, max_epochs, gradient_clip=1.0, precision=None):
        self.max_epochs, self.gradient_clip, self.precision = max_epochs, gradient_clip, precision

    def fit(self, module, loader, valid):
        optimizer, scheduler = module.configure_optimizers(self.max_epochs * len(loader))
        for epoch in range(1, self.max_epochs + 1):
            module.train()
            losses = []
            for batch in loader:
                with self.precision.forward():
                    loss = module.training_step(batch)
                optimizer.zero_grad()
                self.precision.backward(loss)
                self.precision.clip(optimizer, module.parameters(), self.gradient_clip)
                self.precision.step(optimizer)
                scheduler.step()
                losses.append(loss.item())
            print(f"epoch {epoch} train_loss {np.mean(losses):.4f} val_psnr {self.validate(module, valid):.3f}")

    @torch.no_grad()
    def validate(self, module, valid):
        module.eval()
        return torch.cat([module.validation_step(batch) for batch in valid]).mean().item()


if __name__ == "__main__":
    torch.manual_seed(2)
    train, valid = phantoms(400, 1), phantoms(80, 2)
    trainer = Trainer(max_epochs=5, precision=MixedPrecision())
    trainer.fit(Denoiser(), DataLoader(train, 16, shuffle=True), DataLoader(valid, 40))
    noisy, clean = valid.tensors
    print(f"noisy input: psnr {10 * torch.log10(1 / (noisy - clean).square().mean((1, 2, 3))).mean():.3f}")

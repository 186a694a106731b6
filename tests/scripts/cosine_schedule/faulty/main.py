"""Ultrasound denoising (noise2clean)."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(4)

EPOCHS = 6


class DnCNN(nn.Module):
    def __init__(self, depth=4, ch=16):
        super().__init__()
        layers = [nn.Conv2d(1, ch, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(ch, ch, 3, padding=1, bias=False), nn.BatchNorm2d(ch), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(ch, 1, 3, padding=1))
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return x - self.net(x)


def phantom(n):
    base = nn.functional.interpolate(torch.rand(n, 1, 5, 5), size=(20, 20), mode="bilinear")
    noisy = base + 0.2 * torch.randn_like(base) * (0.5 + base)
    return noisy, base


train_set = TensorDataset(*phantom(160))
val_set = TensorDataset(*phantom(32))
train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
val_loader = DataLoader(val_set, batch_size=16)

model = DnCNN().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
loss_fn = nn.MSELoss()

for epoch in range(1, EPOCHS + 1):
    model.train()
    train_loss = 0.0
    for noisy, clean in train_loader:
        noisy, clean = noisy.to(device), clean.to(device)
        optimizer.zero_grad()
        loss = loss_fn(model(noisy), clean)
        loss.backward()
        optimizer.step()
        scheduler.step()
        train_loss += loss.item() / len(train_loader)

    model.eval()
    val_loss = 0.0
    with torch.no_grad():
        for noisy, clean in val_loader:
            val_loss += loss_fn(model(noisy.to(device)), clean.to(device)).item() / len(val_loader)
    psnr = -10 * torch.log10(torch.tensor(val_loss)).item()
    print(f"Epoch {epoch}/{EPOCHS} lr={scheduler.get_last_lr()[0]:.2e} train={train_loss:.5f} val_psnr={psnr:.2f}")

"""Ejection fraction regression from echo clips (3D conv)."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, random_split


class Clips(Dataset):
    def __init__(self, n=160):
        g = torch.Generator().manual_seed(0)
        self.ef = 0.2 + 0.6 * torch.rand(n, generator=g)
        t = torch.arange(6).float()
        yy, xx = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 12), indexing="ij")
        rad = 0.8 - 0.5 * self.ef[:, None] * (1 - torch.cos(t * 6.28 / 6))[None] / 2
        self.x = (torch.sqrt(yy**2 + xx**2)[None, None] < rad[:, :, None, None]).float()
        self.x = self.x + 0.2 * torch.randn(self.x.shape, generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"clip": self.x[i][None], "ef": self.ef[i]}


class EFNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(8, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
            nn.Flatten(), nn.Dropout(0.1), nn.Linear(16, 1),
        )

    def forward(self, x):
        return self.net(x)[:, 0]


def validate(model, loader):
    err = 0.0
    with torch.no_grad():
        for b in loader:
            err += (model(b["clip"]) - b["ef"]).abs().sum().item()
    return err / len(loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(1)
    ds = Clips()
    tr, va = random_split(ds, [128, 32], generator=torch.Generator().manual_seed(0))
    tr_dl, va_dl = DataLoader(tr, 8, shuffle=True), DataLoader(va, 8)
    model = EFNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(5):
        for b in tr_dl:
            loss = nn.functional.mse_loss(model(b["clip"]), b["ef"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: train mse {loss.item():.4f} val mae {validate(model, va_dl):.4f}")

"""FCN for tumour outlines, validation every so many iterations."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {"max_epoch": 5, "interval_validate": 25, "batch_size": 10, "lr": 2e-3, "n_train": 600, "n_val": 60, "size": 40}


def slices(n, size, seed):
    """Axial slices with a bright, ragged lesion and a few smooth distractors; classes 0 background, 1 oedema, 2 core."""
    gen = torch.Generator().manual_seed(seed)
    ax = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(ax, ax, indexing="ij")
    images, labels = [], []
    for _ in range(n):
        u = torch.rand(12, generator=gen)
        head = (yy / 0.9) ** 2 + (xx / 0.75) ** 2 < 1
        image = 0.4 * head.float() + 0.1 * torch.sin(5 * yy + 6 * u[0]) * head
        cy, cx = 0.9 * u[1] - 0.45, 0.8 * u[2] - 0.4
        angle = torch.atan2(yy - cy, xx - cx)
        r = ((yy - cy) ** 2 + (xx - cx) ** 2).sqrt() * (1 + 0.25 * torch.sin(4 * angle + 6 * u[3]))
        label = torch.zeros(size, size, dtype=torch.long)
        label[r < 0.18 + 0.2 * u[4]] = 1
        label[r < 0.08 + 0.08 * u[5]] = 2
        image = image + 0.22 * (label == 1) + 0.05 * (label == 2)
        image[((yy + 0.5) ** 2 + (xx - 1.2 * u[6] + 0.6) ** 2) < 0.02] = 0.65
        image = 90 + 300 * image * (0.8 + 0.4 * u[7]) + 30 * torch.randn(size, size, generator=gen)
        images.append(image[None])
        labels.append(label)
    return torch.stack(images), torch.stack(labels)


class FCN(nn.Module):
    def __init__(self, classes=3, ch=16):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(1, ch, 3, padding=1), nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, ch, 3, padding=1), nn.BatchNorm2d(ch), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.BatchNorm2d(2 * ch), nn.ReLU())
        self.conv3 = nn.Sequential(nn.Conv2d(2 * ch, 4 * ch, 3, padding=1), nn.BatchNorm2d(4 * ch), nn.ReLU())
        self.fc = nn.Sequential(nn.Conv2d(4 * ch, 4 * ch, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.3))
        self.score, self.score2, self.score1 = nn.Conv2d(4 * ch, classes, 1), nn.Conv2d(2 * ch, classes, 1), nn.Conv2d(ch, classes, 1)

    def forward(self, x):
        pool1 = self.conv1(x)
        pool2 = self.conv2(F.max_pool2d(pool1, 2))
        pool3 = self.fc(self.conv3(F.max_pool2d(pool2, 2)))
        up = F.interpolate(self.score(pool3), scale_factor=2, mode="bilinear", align_corners=False) + self.score2(pool2)
        return F.interpolate(up, scale_factor=2, mode="bilinear", align_corners=False) + self.score1(pool1)


class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, max_epoch, interval_validate):
        self.model, self.optim = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.max_epoch, self.interval_validate = max_epoch, interval_validate
        self.epoch = self.iteration = 0
        self.best_mean_iu = 0.0

    def validate(self):
        self.model.eval()
        hist, val_loss = torch.zeros(3, 3), 0.0
        with torch.no_grad():
            for data, target in self.val_loader:
                score = self.model(data)
                val_loss += F.cross_entropy(score, target).item() / len(self.val_loader)
                hist += torch.bincount(3 * target.flatten() + score.argmax(1).flatten(), minlength=9).view(3, 3)
        iu = hist.diag() / (hist.sum(0) + hist.sum(1) - hist.diag()).clamp(min=1)
        print(f"epoch {self.epoch} iteration {self.iteration} valid loss {val_loss:.4f} IU {' '.join(f'{v:.3f}' for v in iu)} mean {iu.mean():.4f}")
        if iu.mean() > self.best_mean_iu:
            self.best_mean_iu = iu.mean().item()
            torch.save({"iteration": self.iteration, "model_state_dict": self.model.state_dict()}, "model_best.pth.tar")
        self.model.train()

    def train_epoch(self):
        self.model.train()
        for batch_idx, (data, target) in enumerate(self.train_loader):
            self.iteration = batch_idx + self.epoch * len(self.train_loader)
            if self.iteration % self.interval_validate == 0:
                self.validate()
            self.optim.zero_grad()
            loss = F.cross_entropy(self.model(data), target)
            loss.backward()
            self.optim.step()
            if self.iteration % 10 == 0:
                print(f"  iteration {self.iteration} train loss {loss.item():.4f}")

    def train(self):
        for self.epoch in range(self.max_epoch):
            self.train_epoch()
        self.validate()


def main():
    torch.manual_seed(0)
    c = CONFIG
    images, labels = slices(c["n_train"], c["size"], 1)
    mean, std = images.mean(), images.std()
    val_images, val_labels = slices(c["n_val"], c["size"], 2)
    train_loader = DataLoader(TensorDataset((images - mean) / std, labels), c["batch_size"], shuffle=True)
    val_loader = DataLoader(TensorDataset((val_images - mean) / std, val_labels), c["batch_size"])
    model = FCN()
    optimizer = torch.optim.Adam(model.parameters(), c["lr"])
    Trainer(model, optimizer, train_loader, val_loader, c["max_epoch"], c["interval_validate"]).train()


if __name__ == "__main__":
    main()

"""Metastasis segmentation on the axial slices of liver MRI volumes with a small 2D U-Net."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

SIZE, DEPTH = 48, 12


def make_volume(rng):
    """A liver with focal lesions; metastases and cysts look much alike on this sequence."""
    grid = np.indices((DEPTH, SIZE, SIZE)).astype(np.float32)
    texture = gaussian_filter(rng.normal(0, 1, (DEPTH, SIZE, SIZE)), (3, 2, 2))
    image = 1.0 + 0.12 * texture / texture.std() + rng.normal(0, 0.15)
    mask = np.zeros(image.shape, np.float32)
    for _ in range(rng.integers(3, 7)):
        centre = rng.uniform((2, 8, 8), (DEPTH - 2, SIZE - 8, SIZE - 8))
        radius = rng.uniform(3.5, 6.5)
        distance = np.sqrt((((grid - centre[:, None, None, None]) * np.array([0.9, 1, 1])[:, None, None, None]) ** 2).sum(0))
        inside = distance < radius
        metastasis = rng.random() < 0.5
        image[inside] += rng.normal(0.62 if metastasis else 0.50, 0.12)
        mask[inside] = float(metastasis)
    image += rng.normal(0, 0.05, image.shape)
    return image.astype(np.float32), mask


class SlicerInterface:
    """Serves volumes slice by slice; a sample is named after its case and slice number."""

    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.volumes = {f"case_{k:05d}": make_volume(rng) for k in range(count)}

    def get_indices(self):
        return [f"{case}:#:{z}" for case, (image, _) in self.volumes.items() for z in range(len(image))]

    def load(self, sample):
        case, z = sample.split(":#:")
        image, mask = self.volumes[case]
        return image[int(z)][None], mask[int(z)][None]


class Preprocessor:
    def __init__(self, interface, batch_size=16):
        self.interface, self.batch_size = interface, batch_size

    def batches(self, samples, shuffle, rng=None):
        samples = list(samples)
        if shuffle:
            rng.shuffle(samples)
        for start in range(0, len(samples), self.batch_size):
            pairs = [self.interface.load(s) for s in samples[start:start + self.batch_size]]
            image = torch.tensor(np.stack([p[0] for p in pairs]))
            mask = torch.tensor(np.stack([p[1] for p in pairs]))
            if shuffle:
                image = image + 0.02 * torch.randn_like(image)
            yield (image - 1.0) / 0.3, mask


def block(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(),
                         nn.Conv2d(outside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.down1, self.down2, self.down3 = block(1, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.bottom = block(4 * width, 6 * width)
        self.up3, self.up2 = block(10 * width, 3 * width), block(5 * width, 2 * width)
        self.up1 = block(3 * width, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.down3(F.max_pool2d(b, 2))
        x = self.bottom(F.max_pool2d(c, 2))
        x = self.up3(torch.cat([F.interpolate(x, scale_factor=2), c], 1))
        x = self.up2(torch.cat([F.interpolate(x, scale_factor=2), b], 1))
        return self.head(self.up1(torch.cat([F.interpolate(x, scale_factor=2), a], 1)))


def dice_crossentropy(logits, mask):
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * mask).sum() + 1
    return F.binary_cross_entropy_with_logits(logits, mask) + 1 - overlap / (probability.sum() + mask.sum() + 1)


class NeuralNetwork:
    def __init__(self, preprocessor, lr=2e-3):
        self.preprocessor, self.model = preprocessor, UNet()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)

    @torch.no_grad()
    def dice(self, samples, preprocessor=None):
        self.model.eval()
        overlap = total = 0.0
        for image, mask in (preprocessor or self.preprocessor).batches(samples, shuffle=False):
            predicted = (self.model(image) > 0).float()
            overlap += 2 * (predicted * mask).sum().item()
            total += (predicted.sum() + mask.sum()).item()
        return overlap / max(total, 1)

    def train(self, train_samples, val_samples, epochs, rng):
        best, best_epoch, best_weights = -1.0, 0, None
        for epoch in range(1, epochs + 1):
            self.model.train()
            losses = []
            for image, mask in self.preprocessor.batches(train_samples, shuffle=True, rng=rng):
                loss = dice_crossentropy(self.model(image), mask)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            score = self.dice(val_samples)
            if score > best:
                best, best_epoch = score, epoch
                best_weights = {k: v.clone() for k, v in self.model.state_dict().items()}
            if epoch % 3 == 0:
                print(f"epoch {epoch} loss {np.mean(losses):.4f} validation Dice {score:.4f}")
        self.model.load_state_dict(best_weights)
        return best, best_epoch


def split_validation(interface, percentage, rng):
    samples = interface.get_indices()
    rng.shuffle(samples)
    cut = int(len(samples) * percentage)
    return samples[cut:], samples[:cut]


def main():
    torch.manual_seed(7)
    rng = np.random.default_rng(7)
    interface = SlicerInterface(20, seed=1)
    train_samples, val_samples = split_validation(interface, 0.2, rng)
    print(f"{len(train_samples)} slices for training, {len(val_samples)} for validation")
    network = NeuralNetwork(Preprocessor(interface))
    best, best_epoch = network.train(train_samples, val_samples, epochs=15, rng=rng)
    hospital = SlicerInterface(14, seed=2)
    test = network.dice(hospital.get_indices(), Preprocessor(hospital))
    print(f"best validation Dice {best:.4f} (epoch {best_epoch}), Dice on the 14 volumes of the second hospital {test:.4f}")


if __name__ == "__main__":
    main()

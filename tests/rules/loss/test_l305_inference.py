"""Scripts that only infer: sliding windows, sampling, classification, diagnosis; a second activation at its line.

Each kind is run with the fault, and right.
"""

from __future__ import annotations

import pytest

from traindx.diagnosis import Outcome
from traindx.evidence import Action
from traindx.evidence.observed import IterationsSeen, NetworkCalls
from traindx.finding import Standing

SEGMENTATION = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class SegNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8), nn.ReLU())
            self.head = nn.Conv3d(8, 2, 1)

        def forward(self, x):
            return torch.sigmoid(self.head(self.body(x)))

    def windows(volume, net, size=8, step=4):
        total, count = torch.zeros(2, *volume.shape), torch.zeros(2, *volume.shape)
        weight = torch.ones(size, size, size)
        weight[1:-1, 1:-1, 1:-1] = 3.0
        for z in range(0, volume.shape[0] - size + 1, step):
            for y in range(0, volume.shape[1] - size + 1, step):
                for x in range(0, volume.shape[2] - size + 1, step):
                    at = (slice(None), slice(z, z + size), slice(y, y + size), slice(x, x + size))
                    patch = volume[at[1:]][None, None]
                    total[at] += net(patch)[0] * weight
                    count[at] += weight
        return total / count

    net = SegNet()
    torch.save(net.state_dict(), "seg.pt")
    net.load_state_dict(torch.load("seg.pt"))
    net.eval()
    with torch.no_grad():
        for case in range(3):
            volume = torch.randn(16, 16, 16)
            probability = windows((volume - volume.mean()) / volume.std(), net)
            mask = PREDICT > 0.5
    print(int(mask.sum()))
"""

SAMPLING = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Linear(1, 16)
            self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.SiLU())
            self.out = nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, x, t):
            return self.out(self.body(x) + self.time(t.float()[:, None] / 50)[:, :, None, None])

    @torch.inference_mode()
    def sample(net, steps=20):
        beta = torch.linspace(1e-3, 0.1, steps)
        bar = torch.cumprod(1 - beta, 0)
        x = torch.randn(2, 1, 16, 16)
        for t in reversed(range(steps)):
            noise = net(x, torch.full((2,), t))
            mean = (x - beta[t] / (1 - bar[t]).sqrt() * noise) / (1 - beta[t]).sqrt()
            x = mean + (beta[t].sqrt() * torch.randn_like(x) if t else 0)
        return torch.sigmoid(x)

    net = Denoiser().eval()
    images = sample(net)
    shown = PREDICT
    print(shown.mean().item())
"""

CLASSIFICATION = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
            self.fc = nn.Linear(8, 5)

        def forward(self, x):
            return self.fc(self.features(x).flatten(1)).softmax(1)

    loader = DataLoader(TensorDataset(torch.randn(40, 3, 16, 16), torch.randint(0, 5, (40,))), batch_size=8)
    net = Classifier()
    net.eval()
    right = 0
    for images, labels in loader:
        with torch.no_grad():
            said = net(images)
        flipped = net(images.flip(3)).detach()
        votes = (said + flipped) / 2
        probability = PREDICT
        right += int((probability.argmax(1) == labels).sum())
    print(right / 40)
"""

DIAGNOSIS = """
    import torch
    from torch import nn

    torch.manual_seed(0)

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.MaxPool2d(11), nn.Flatten())
            self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 3), nn.Sigmoid())

        def forward(self, x):
            return self.head(self.backbone(x))

    torch.save({"model": Reader().state_dict(), "epoch": 7}, "best.pt")
    checkpoint = torch.load("best.pt")
    net = Reader()
    print(net.load_state_dict(checkpoint["model"]), checkpoint["epoch"])
    for name, weights in checkpoint["model"].items():
        print(name, tuple(weights.shape), round(float(weights.float().std()), 4))
    net.eval()
    images = torch.randn(12, 1, 24, 24)
    hidden = []
    handle = net.backbone.register_forward_hook(lambda module, inputs, output: hidden.append(output.detach()))
    scores = net(images)
    handle.remove()
    probability = PREDICT
    print("spread of features", hidden[0].std(0).mean().item())
    print("spread of findings", probability.std(0).tolist())
"""

KINDS = {
    "segmentation": (SEGMENTATION, "torch.sigmoid(probability)", "probability", "inference"),
    "sampling": (SAMPLING, "torch.sigmoid(images)", "images", "sampling"),
    "classification": (CLASSIFICATION, "votes.softmax(1)", "votes", "inference"),
    "diagnosis": (DIAGNOSIS, "torch.sigmoid(scores)", "scores", "inference"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_activation_is_found_at_its_line(script, kind):
    source, wrong, _, _ = KINDS[kind]
    seen = script(source.replace("PREDICT", f"{wrong}"), name="infer.py")
    assert seen.codes == ["L305"]
    (finding,) = seen.found("L305")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == seen.line(wrong)
    assert seen.diagnosis.outcome is Outcome.FAULT_FOUND


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_one_is_examined_and_silent(script, kind):
    source, _, right, phase = KINDS[kind]
    seen = script(source.replace("PREDICT", right), name="infer.py")
    assert seen.diagnosis.errors == ()
    assert [(finding.code, finding.message) for finding in seen.diagnosis.findings] == []
    calls = seen.of(NetworkCalls)
    assert {call.phase for call in calls} == {phase}
    expected = {"segmentation": 3 * 27, "sampling": 20, "classification": 10, "diagnosis": 1}[kind]
    assert sum(call.calls for call in calls) == expected
    assert seen.one(IterationsSeen).iterations == 0
    assert seen.diagnosis.outcome is Outcome.NOTHING_FOUND
    assert not [one for one in seen.diagnosis.not_examined if one.action is Action.WATCH]


MONAI = """
    import torch
    from monai.data import MetaTensor, decollate_batch
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import UNet
    from monai.transforms import Activations, AsDiscrete, Compose

    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = UNet(2, 1, 2, channels=(8, 16), strides=(2,))

        def forward(self, x):
            return HEAD

    net = Net().eval()
    post = POST
    with torch.no_grad():
        for case in range(3):
            image = MetaTensor(torch.randn(1, 1, 40, 40))
            masks = [post(one) for one in decollate_batch(WHOLE)]
            print(float(masks[0].float().mean()))
"""
SLIDING = 'sliding_window_inference(image, (16, 16), 4, net, overlap=0.25, mode="gaussian")'
FLIPPED = "(net(image) + net(image.flip(3)).flip(3)) / 2"
SIGMOIDS, SOFTMAXES = (
    "Compose([Activations(sigmoid=True), AsDiscrete(threshold=0.5)])",
    "Compose([Activations(softmax=True), AsDiscrete(argmax=True)])",
)
LIBRARY = [
    ("torch.sigmoid(self.unet(x))", SLIDING, SIGMOIDS, True),
    ("torch.softmax(self.unet(x), 1)", SLIDING, SOFTMAXES, True),
    ("torch.sigmoid(self.unet(x))", FLIPPED, SIGMOIDS, True),
    ("self.unet(x)", SLIDING, SIGMOIDS, False),
    ("torch.sigmoid(self.unet(x))", SLIDING, "AsDiscrete(threshold=0.5)", False),
    ("self.unet(x)", FLIPPED, SOFTMAXES, False),
]


@pytest.mark.parametrize(("head", "whole", "post", "twice"), LIBRARY)
def test_transforms_of_a_library_after_its_sliding_window(script, head, whole, post, twice):
    """Windows are put together and come back as MetaTensors, one a case; the second activation is the transform's."""
    source = MONAI.replace("HEAD", head).replace("WHOLE", whole).replace("POST", post)
    seen = script(source, name="infer.py")
    found = [(finding.code, finding.standing, finding.location.line) for finding in seen.diagnosis.findings]
    assert found == ([("L305", Standing.DEMONSTRATED, seen.line("post(one)"))] if twice else [])
    assert {call.phase for call in seen.of(NetworkCalls)} == {"inference"}


def test_a_network_left_in_training_mode_is_found_where_it_infers(script):
    """Suspected, as some networks are meant to use the statistics of the batch they are given."""
    seen = script(CLASSIFICATION.replace("PREDICT", "votes").replace("    net.eval()\n", ""), name="infer.py")
    assert {(finding.code, finding.standing) for finding in seen.diagnosis.findings} == {("C1103", Standing.SUSPECTED)}
    assert seen.found("C1103")[0].location.line == seen.line("said = net(images)")

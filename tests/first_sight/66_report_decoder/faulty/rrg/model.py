"""A CNN that sees and a transformer that writes."""
import torch
import torch.nn as nn

from rrg.data import BOS, EOS, PAD, VOCABULARY


class ReportWriter(nn.Module):
    def __init__(self, dim=64, heads=4, depth=2, length=44):
        super().__init__()

        def block(cin, cout):
            return [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]

        self.cnn = nn.Sequential(*block(1, 12), *block(12, 24), *block(24, dim))
        self.places = nn.Parameter(0.02 * torch.randn(36, dim))
        self.words = nn.Embedding(len(VOCABULARY), dim, padding_idx=PAD)
        self.positions = nn.Parameter(0.02 * torch.randn(length, dim))
        layer = nn.TransformerDecoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, depth, norm=nn.LayerNorm(dim))
        self.out = nn.Linear(dim, len(VOCABULARY))

    def see(self, images):
        return self.cnn(images).flatten(2).transpose(1, 2) + self.places

    def write(self, memory, tokens):
        """Logits of the next word at every position."""
        h = self.words(tokens) + self.positions[: tokens.shape[1]]
        h = self.decoder(h, memory, tgt_key_padding_mask=tokens == PAD)
        return self.out(h)

    def forward(self, images, tokens):
        return self.write(self.see(images), tokens)

    @torch.no_grad()
    def generate(self, images, length=44):
        """Greedy reports, (B, length) with padding after the end."""
        memory = self.see(images)
        tokens = torch.full((len(images), 1), BOS)
        done = torch.zeros(len(images), dtype=torch.bool)
        while tokens.shape[1] < length and not done.all():
            following = self.write(memory, tokens)[:, -1].argmax(1).masked_fill(done, PAD)
            done |= following == EOS
            tokens = torch.cat([tokens, following[:, None]], 1)
        return nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PAD)

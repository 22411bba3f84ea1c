# SPDX-License-Identifier: GPL-3.0-or-later
"""The lightweight autoencoder: pixel-unshuffle, a few convolutions at latent resolution, pixel-shuffle."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualConv(nn.Module):
    """x + conv(silu(conv(x))), 3 x 3, no normalisation: what a pixel becomes depends on its neighbourhood alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        return out


class PainterAutoencoder(ModelMixin, ConfigMixin):
    """Working images 0..1 (straight colours and coverage) <-> latents at 1/``factor`` of the resolution.

    At full HD this costs about a hundredth of a KL autoencoder; its own reconstruction error never reaches a frame, since the
    pipeline adds only the difference of two decodings to the input.

    Args:
        in_channels: of the image, 4 for RGBA.
        latent_channels: of the latents; they are trained to roughly unit variance.
        factor: pixels per latent cell along an axis, a multiple of 2.
        width: channels of the convolutions at latent resolution.
        detail: channels of the last convolution, at half resolution; it hides the borders between cells.
    """

    @register_to_config
    def __init__(self, in_channels: int = 4, latent_channels: int = 48, factor: int = 4, width: int = 64, detail: int = 32) -> None:
        super().__init__()
        self.unpatch = nn.Conv2d(in_channels * factor**2, width, 1)
        self.encoder = nn.Sequential(ResidualConv(width), nn.Conv2d(width, latent_channels, 1))
        self.decoder = nn.Sequential(nn.Conv2d(latent_channels, width, 3, padding=1), ResidualConv(width))
        self.patch = nn.Conv2d(width, detail * (factor // 2) ** 2, 1)
        self.finish = nn.Conv2d(detail, in_channels * 4, 3, padding=1)

    @property
    def factor(self) -> int:
        return int(self.config.factor)

    def encode(self, image: Tensor) -> Tensor:
        """[B, C, H, W] in 0..1, sides multiples of ``factor`` -> latents [B, L, H / factor, W / factor]."""
        patches = F.pixel_unshuffle(image * 2 - 1, self.factor)
        latents: Tensor = self.encoder(self.unpatch(patches))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """[B, L, h, w] -> image [B, C, h * factor, w * factor], nominally 0..1, not clamped."""
        half = F.pixel_shuffle(self.patch(self.decoder(latents)), self.factor // 2)
        # Half of the detail channels pass unchanged, enough to carry every pixel of the cell.
        linear, curved = half.chunk(2, dim=1)
        image = F.pixel_shuffle(self.finish(torch.cat([linear, F.silu(curved)], dim=1)), 2)
        return image * 0.5 + 0.5

    def forward(self, image: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(image))

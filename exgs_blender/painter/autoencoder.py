# SPDX-License-Identifier: GPL-3.0-or-later
"""The lightweight autoencoder: pixel-unshuffle and one linear layer in, one linear layer and a little detail out."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F


class PainterAutoencoder(ModelMixin, ConfigMixin):
    """Premultiplied RGBA in 0..1 <-> latents at 1/``factor`` of the resolution.

    It starts as a lossless rearrangement of pixels (with at least in_channels * factor^2 latents) and is trained from there
    together with the denoiser: a bottleneck would cap what a repair can change in a pixel. At full HD it costs less than a
    thousandth of a KL autoencoder; its own error never reaches a frame, since the pipeline adds only the difference of two decodings.

    Args:
        in_channels: of the image, 4 for RGBA.
        latent_channels: of the latents.
        factor: pixels per latent cell along an axis.
        width: channels of the decoder's detail branch, which starts at zero.
    """

    @register_to_config
    def __init__(self, in_channels: int = 4, latent_channels: int = 64, factor: int = 4, width: int = 64) -> None:
        super().__init__()
        patch = in_channels * factor**2
        self.encoder = nn.Conv2d(patch, latent_channels, 1)
        self.decoder = nn.Conv2d(latent_channels, patch, 1)
        self.detail_in = nn.Conv2d(latent_channels, width, 3, padding=1)
        self.detail_out = nn.Conv2d(width, patch, 3, padding=1)
        with torch.no_grad():
            for layer in (self.encoder, self.decoder):
                layer.weight.copy_(torch.eye(layer.out_channels, layer.in_channels)[..., None, None])
                layer.bias.zero_()  # type: ignore[union-attr]
            self.detail_out.weight.zero_()
            self.detail_out.bias.zero_()  # type: ignore[union-attr]

    @property
    def factor(self) -> int:
        return int(self.config.factor)

    @property
    def reach(self) -> int:
        """Latent cells beyond which nothing influences a decoded pixel."""
        return 2

    def encode(self, image: Tensor) -> Tensor:
        """[B, C, H, W] in 0..1, sides multiples of ``factor`` -> latents [B, L, H / factor, W / factor]."""
        with torch.autocast(image.device.type, enabled=False):  # a change is a small difference of two decodings: half precision hides it
            latents: Tensor = self.encoder(F.pixel_unshuffle(image.to(self.dtype) * 2 - 1, self.factor))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """[B, L, h, w] -> image [B, C, h * factor, w * factor], nominally 0..1, not clamped."""
        with torch.autocast(latents.device.type, enabled=False):
            latents = latents.to(self.dtype)
            patches = self.decoder(latents) + self.detail_out(F.silu(self.detail_in(latents)))
            return F.pixel_shuffle(patches, self.factor) * 0.5 + 0.5

    def decoded_change(self, after: Tensor, before: Tensor) -> Tensor:
        """decode(after) - decode(before), [B, C, H, W]: what is linear is done once, on the difference, and loses no digits to it."""
        with torch.autocast(after.device.type, enabled=False):
            after, before = after.to(self.dtype), before.to(self.dtype)
            detail = F.silu(self.detail_in(after)) - F.silu(self.detail_in(before))
            linear = F.conv2d(after - before, self.decoder.weight)
            return F.pixel_shuffle(linear + F.conv2d(detail, self.detail_out.weight, padding=1), self.factor) * 0.5

    def forward(self, image: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(image))

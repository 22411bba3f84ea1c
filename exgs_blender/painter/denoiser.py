# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoiser: diffusers' UNet2DModel without normalisation over the picture."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

# DiffusionPipeline.from_pretrained looks the base class ModelMixin up in the module that defines a part.
__all__ = ["ChannelAffine", "LocalUNet2DModel", "ModelMixin", "make_denoiser", "parameter_count"]

DAMPING = 0.2
"""What the second convolution of every residual block is multiplied with before training."""

_unet_init = inspect.unwrap(UNet2DModel.__init__)


class ChannelAffine(nn.Module):
    """A scale and a bias per channel in the place of GroupNorm (parameters as in GroupNorm), without any statistics.

    GroupNorm averages over the whole picture: a crop, a tile and a frame would be restored differently, and what enters on one
    side of a shot would change the other. Normalising each pixel over its channels was tried, and failed: the residual stream
    grew a constant beside which the picture vanished. Residual blocks that start small (DAMPING) keep the depth trainable instead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias.view(1, -1, 1, 1), x, self.weight.view(1, -1, 1, 1))


class LocalUNet2DModel(UNet2DModel):
    """UNet2DModel (same arguments) with ChannelAffine for GroupNorm: without attention, an output pixel depends on a
    neighbourhood alone, so a crop is restored as the frame is.

    The last convolution starts at zero: an untrained denoiser predicts no change.
    """

    @register_to_config
    @functools.wraps(_unet_init)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _unet_init(self, *args, **kwargs)
        replace_group_norms(self)
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                with torch.no_grad():
                    module.conv2.weight.mul_(DAMPING)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    @property
    def stride(self) -> int:
        """Latent sides must be multiples of this."""
        return int(2 ** (len(self.config.block_out_channels) - 1))

    @property
    def reach(self) -> int:
        """Latent cells beyond which nothing influences a result: what every 3 x 3 convolution adds, and the grids of the levels."""
        levels = [2**i for i in range(len(self.config.block_out_channels))]
        blocks = int(self.config.layers_per_block)
        residual = 2 * (blocks * sum(levels) + 2 * levels[-1] + (blocks + 1) * sum(levels))
        return 2 + residual + 4 * sum(levels[:-1])


def make_denoiser(in_channels: int, out_channels: int, widths: tuple[int, ...], layers_per_block: int) -> LocalUNet2DModel:
    """A convolutional denoiser: ``widths`` of its levels, each at half the resolution of the one before; no attention."""
    return LocalUNet2DModel(
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=widths,
        layers_per_block=layers_per_block,
        down_block_types=("DownBlock2D",) * len(widths),
        up_block_types=("UpBlock2D",) * len(widths),
        add_attention=False,
        norm_num_groups=1,
    )


def replace_group_norms(module: nn.Module) -> None:
    """Put a ChannelAffine in the place of every GroupNorm below ``module``."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, ChannelAffine(child.num_channels))
        else:
            replace_group_norms(child)


def parameter_count(module: Any) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters())

# SPDX-License-Identifier: GPL-3.0-or-later
"""What is trained on a frozen base model: LoRA on its denoiser, and the new channels of its first and last convolution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ExgsError
from ..masks import GUIDANCE
from .adapters import BackboneAutoencoder, BackboneDenoiser
from .base import Base, arguments_of

TARGETS = r".*\.(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2|conv1|conv2|conv_shortcut)"
"""Layers of a UNet2DConditionModel that get LoRA: attention, feed-forward and the residual blocks' convolutions."""
NEW_CHANNELS_RATE = 10.0
"""Learning rate of the new channels and the gain against LoRA's: they start at zero, and their size is not the base's."""


class WidenedInput(nn.Module):
    """The base's first convolution, and a new one without bias, zero at first, for the channels that the base does not know."""

    def __init__(self, base: nn.Conv2d, more: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.more = _zero_convolution(base, more, base.out_channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        known = self.base.in_channels
        return self.base(x[:, :known]) + self.more(x[:, known:])

    def fused(self) -> nn.Conv2d:
        """Both as one convolution."""
        made = _zero_convolution(self.base, self.base.in_channels + self.more.in_channels, self.base.out_channels)
        made.weight.copy_(torch.cat([self.base.weight, self.more.weight], dim=1))
        made.bias.copy_(_bias(self.base))  # type: ignore[union-attr]
        return made


class WidenedOutput(nn.Module):
    """The base's last convolution, and a new one, zero at first, whose channels follow."""

    def __init__(self, base: nn.Conv2d, more: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.more = _zero_convolution(base, base.in_channels, more)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.base(x), self.more(x)], dim=1)

    def fused(self) -> nn.Conv2d:
        """Both as one convolution."""
        made = _zero_convolution(self.base, self.base.in_channels, self.base.out_channels + self.more.out_channels)
        made.weight.copy_(torch.cat([self.base.weight, self.more.weight]))
        made.bias.copy_(torch.cat([_bias(self.base), _bias(self.more)]))  # type: ignore[union-attr]
        return made


class Adapted(nn.Module):
    """Our two parts around a base model, frozen but for LoRA, the new channels and the gain."""

    def __init__(self, base: Base, rank: int) -> None:
        super().__init__()
        self.vae = _autoencoder(base)
        self.unet = _denoiser(base, self.vae, rank)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name; the gain and the new channels last."""
        found = {name: p for name, p in self.unet.named_parameters() if p.requires_grad}
        return {name: found[name] for name in sorted(found, key=lambda n: (not is_lora(n), n))}

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold everything that was trained into plain layers; training cannot go on after it."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for name, module in list(self.unet.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge(safe_merge=True)  # raises where a weight is not finite
                self.unet.set_submodule(name, module.get_base_layer())
        for name in ("conv_in", "conv_out"):
            setattr(self.unet.inner, name, getattr(self.unet.inner, name).fused())


class Trained(nn.Module):
    """A set of parameters as a module, for the checkpoint and the average."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        for name, parameter in parameters.items():
            self.register_parameter(name.replace(".", "/"), parameter)

    def copy(self) -> Trained:
        """The same values in parameters of their own, not trained."""
        return Trained({name: nn.Parameter(p.detach().clone(), requires_grad=False) for name, p in self.named_parameters()})

    @contextmanager
    def showing(self, other: Trained) -> Iterator[None]:
        """Within it these parameters have the other's values."""
        kept = [p.detach().clone() for p in self.parameters()]
        self._take(other.parameters())
        try:
            yield
        finally:
            self._take(kept)

    @torch.no_grad()
    def _take(self, values: Any) -> None:
        for parameter, value in zip(self.parameters(), values, strict=True):
            parameter.copy_(value)


def is_lora(name: str) -> bool:
    """Whether a parameter is one of peft's."""
    return ".lora_" in name


def _autoencoder(base: Base) -> BackboneAutoencoder:
    latents = int(base.vae.config.latent_channels)
    with torch.inference_mode():
        side = 64
        found = base.vae.encode(torch.zeros(1, 3, side, side))
        cells = (found.latents if hasattr(found, "latents") else found.latent_dist.mean).shape[-1]
    factor = side // cells
    made = BackboneAutoencoder(type(base.vae).__name__, arguments_of(base.vae), factor, latents + factor**2)
    made.inner = base.vae
    made.inner.enable_gradient_checkpointing()  # decoding in float32 with gradients would take most of a card's memory
    return made.requires_grad_(False).eval()


def _denoiser(base: Base, vae: BackboneAutoencoder, rank: int) -> BackboneDenoiser:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ExgsError("building on a base model needs the Python package 'peft'; install ExGS with its extra 'backbone'") from error
    latents, colours = int(vae.config.latent_channels), vae.colour_channels
    more = latents - colours + len(GUIDANCE)
    wide = {"in_channels": colours + more, "out_channels": latents}
    arguments = {**arguments_of(base.unet), **wide}
    tokens = (int(base.prompt.shape[1]), int(base.prompt.shape[2]))
    made = BackboneDenoiser(arguments, colours + more, latents, colours, tokens, base.prediction, base.schedule)
    made.prompt.copy_(base.prompt)
    made.inner = base.unet
    settings = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS)
    inject_adapter_in_model(settings, made.inner)  # freezes the rest
    made.inner.conv_in = WidenedInput(made.inner.conv_in, more)
    made.inner.conv_out = WidenedOutput(made.inner.conv_out, latents - colours)
    return made


def _zero_convolution(like: nn.Conv2d, in_channels: int, out_channels: int, bias: bool = True) -> nn.Conv2d:
    size: Any = like.kernel_size
    padding: Any = like.padding
    made = nn.Conv2d(in_channels, out_channels, size, padding=padding, bias=bias, device=like.weight.device)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def _bias(layer: nn.Conv2d) -> Tensor:
    return layer.bias if layer.bias is not None else torch.zeros(layer.out_channels, device=layer.weight.device)

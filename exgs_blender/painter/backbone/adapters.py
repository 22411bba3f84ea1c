# SPDX-License-Identifier: GPL-3.0-or-later
"""A Stable Diffusion model's autoencoder and denoiser with the interface of ``PainterAutoencoder`` and ``LocalUNet2DModel``.

The model knows RGB, our frames are premultiplied RGBA. The colours go through its autoencoder as they look over black. Coverage
has no place there and travels beside the latents: alpha's pixels rearranged into factor^2 channels, which loses nothing and costs
nothing. The denoiser's first convolution is widened for them and for the guidance, the last one for the change of alpha.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import Tensor, nn
from torch.nn import functional as F

# DiffusionPipeline.from_pretrained looks the base class ModelMixin up in the module that defines a part.
__all__ = ["AUTOENCODERS", "PREDICTIONS", "BackboneAutoencoder", "BackboneDenoiser", "ModelMixin"]

AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
PREDICTIONS = ("epsilon", "v_prediction", "sample")


class BackboneAutoencoder(ModelMixin, ConfigMixin):
    """Premultiplied RGBA in 0..1 <-> the base's latents of the colours, then alpha's pixels in factor^2 channels.

    Args:
        kind: a key of AUTOENCODERS.
        arguments: of that class.
        factor: pixels per latent cell along an axis.
        latent_channels: the base's and factor^2 for alpha.
    """

    @register_to_config
    def __init__(self, kind: str, arguments: dict[str, Any], factor: int, latent_channels: int) -> None:
        super().__init__()
        if kind not in AUTOENCODERS:
            raise ValueError(f"vae: 'kind' is {kind!r}, expected one of {', '.join(AUTOENCODERS)}")
        self.inner = AUTOENCODERS[kind](**arguments)
        if latent_channels != self.colour_channels + factor**2:
            raise ValueError(f"vae: 'latent_channels' is {latent_channels}, expected {self.colour_channels} + {factor}^2")

    @property
    def factor(self) -> int:
        return int(self.config.factor)

    @property
    def colour_channels(self) -> int:
        """Latents of the colours."""
        return int(self.inner.config.latent_channels)

    def encode(self, image: Tensor) -> Tensor:
        """[B, 4, H, W] in 0..1, sides multiples of ``factor`` -> latents [B, L, H / factor, W / factor], without sampling."""
        image = image.to(self.dtype) * 2 - 1
        with torch.autocast(image.device.type, enabled=False):  # as in PainterAutoencoder: a change is a small difference
            found = self.inner.encode(image[:, :3])
            colours = found.latents if isinstance(self.inner, AutoencoderTiny) else found.latent_dist.mode()
        coverage = F.pixel_unshuffle(image[:, 3:], self.factor)
        return torch.cat([(colours - self._shift) * self.inner.config.scaling_factor, coverage], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """[B, L, h, w] -> image [B, 4, h * factor, w * factor], nominally 0..1, not clamped."""
        latents = latents.to(self.dtype)
        colours, coverage = latents[:, : self.colour_channels], latents[:, self.colour_channels :]
        with torch.autocast(latents.device.type, enabled=False):
            rgb = self.inner.decode(colours / self.inner.config.scaling_factor + self._shift).sample
        return torch.cat([rgb, F.pixel_shuffle(coverage, self.factor)], dim=1) * 0.5 + 0.5

    def decoded_change(self, after: Tensor, before: Tensor) -> Tensor:
        """decode(after) - decode(before), [B, 4, H, W]."""
        made, kept = self.decode(torch.cat([after, before])).chunk(2)
        return made - kept

    def forward(self, image: Tensor) -> Tensor:
        """Encode and decode."""
        return self.decode(self.encode(image))

    @property
    def _shift(self) -> float:
        # AutoencoderTiny's 'latent_shift' belongs to its storage as bytes, not to its latents.
        return float(getattr(self.inner.config, "shift_factor", None) or 0.0)


class BackboneDenoiser(ModelMixin, ConfigMixin):
    """A UNet2DConditionModel that is told one fixed prompt and predicts the change of the latents.

    The change of the colours' latents is the base's prediction of the clean sample less what it was given, times ``gain``, which
    starts at zero as the new parts of the convolutions do: an untrained denoiser predicts no change, and a frame stays
    bit for bit. The base normalises over the picture and attends over all of it, so tiles are not restored as whole frames are.

    Args:
        arguments: of UNet2DConditionModel, its input and output channels already widened.
        in_channels: latents and guidance.
        latent_channels: latents, as in BackboneAutoencoder.
        colour_channels: how many of them are the base's own.
        prompt_shape: tokens and channels of the stored prompt embedding.
        prediction: what the base predicts, one of PREDICTIONS.
        schedule: ``num_train_timesteps``, ``beta_schedule``, ``beta_start``, ``beta_end`` of the base.
    """

    prompt: Tensor

    @register_to_config
    def __init__(
        self,
        arguments: dict[str, Any],
        in_channels: int,
        latent_channels: int,
        colour_channels: int,
        prompt_shape: tuple[int, int],
        prediction: str,
        schedule: dict[str, Any],
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise ValueError(f"unet: 'prediction' is {prediction!r}, expected one of {', '.join(PREDICTIONS)}")
        self.inner = UNet2DConditionModel(**arguments)
        self.gain = nn.Parameter(torch.zeros(colour_channels))
        self.register_buffer("prompt", torch.zeros(1, *prompt_shape))
        # Not a buffer: half precision would round the noise level.
        self.signal = DDIMScheduler(**schedule).alphas_cumprod.clone()

    @property
    def stride(self) -> int:
        """Latent sides must be multiples of this."""
        return int(2 ** (len(self.inner.config.block_out_channels) - 1))

    def forward(self, sample: Tensor, timestep: Tensor) -> UNet2DConditionOutput:
        """[B, in_channels, h, w] noisy latents and guidance, [B] timesteps -> ``sample`` [B, latent_channels, h, w], the change."""
        made = self.inner(sample, timestep, self.prompt.expand(len(sample), -1, -1).to(sample.dtype)).sample
        colours = int(self.config.colour_channels)
        signal = self.signal.to(sample.device)[timestep].view(-1, 1, 1, 1)
        change = self._clean(made[:, :colours].float(), sample[:, :colours].float(), signal)
        change = self.gain.float().view(1, -1, 1, 1) * change
        return UNet2DConditionOutput(sample=torch.cat([change.to(sample.dtype), made[:, colours:].to(sample.dtype)], dim=1))

    def _clean(self, made: Tensor, noisy: Tensor, signal: Tensor) -> Tensor:
        """The predicted clean latents less noisy / sqrt(signal), for what the base predicts."""
        if self.config.prediction == "epsilon":
            return -((1 - signal) / signal).sqrt() * made
        if self.config.prediction == "v_prediction":
            return -(1 - signal) / signal.sqrt() * noisy - (1 - signal).sqrt() * made
        return made - noisy / signal.sqrt()

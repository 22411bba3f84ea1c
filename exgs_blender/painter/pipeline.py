# SPDX-License-Identifier: GPL-3.0-or-later
"""GaussPainterPipeline: one-step latent diffusion that repairs renders of pruned splat scenes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor
from torch.nn import functional as F

from ..errors import ExgsError
from .autoencoder import PainterAutoencoder
from .basis import COUNT, mixed
from .denoiser import LocalUNet2DModel
from .masks import guidance, nearness_from_depth, repair_level, support_of

TIMESTEP = 199
"""The one step of deployment, with zero noise (as Difix3D+ and SD-Turbo derivatives do)."""
TILE_HALO = 192
"""Pixels around a tile that are restored with it and thrown away; what lies farther has no visible influence."""

MARGIN = 32
"""Pixels around the support where the change is computed as well: ``basis`` blurs it."""


@dataclass
class RestoredFrame(BaseOutput):  # type: ignore[misc]
    """rgb [B, 3, H, W] premultiplied, alpha [B, 1, H, W], gate [B, 1, H, W] (share of the change that was used), float32."""

    rgb: Tensor
    alpha: Tensor
    gate: Tensor


def make_scheduler() -> DDIMScheduler:
    """The noise schedule that the denoiser is trained with; it predicts the clean sample."""
    return DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="sample", clip_sample=False)


def one_step(
    vae: Any, unet: Any, scheduler: Any, latents: Tensor, masks: Tensor, timesteps: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Denoise in one step. Returns (clean latents, what they are when the denoiser predicts no change), both [B, L, h, w].

    z_t = sqrt(abar_t) z + sqrt(1 - abar_t) noise; the denoiser sees z_t, the masks and t, and predicts the change against
    z_t / sqrt(abar_t). Without noise the second result is z up to rounding, and the same tensor as the first where the
    change is zero: the difference of their decodings is then exactly zero.
    """
    signal = scheduler.alphas_cumprod.to(latents.device, torch.float32)[timesteps].view(-1, 1, 1, 1)
    noisy = signal.sqrt().to(latents.dtype) * latents
    if noise is not None:
        noisy = noisy + (1 - signal).sqrt().to(latents.dtype) * noise
    seen = torch.cat([noisy, masks.to(latents.dtype)], dim=1)
    change = unet(seen.to(unet.dtype), timesteps).sample.to(latents.dtype)
    unchanged = noisy / signal.sqrt().to(latents.dtype)
    return unchanged + change, unchanged


class GaussPainterPipeline(DiffusionPipeline):
    """Restores frames of pruned splat scenes: ``out = x + g (D(z0) - D(z))`` with ``z = E(x)``, ``z0 = UNet(z_t, masks, t)``.

    x is the frame as premultiplied RGBA: holes are filled by raising alpha and colour together. The difference of the decodings
    cancels the autoencoder's own error, so a denoiser that predicts no change leaves the frame as it is; the gate g is 0 where
    little was pruned and far from any coverage. Frames are padded and cropped, never resized. Saves to and loads from a folder
    of safetensors; loading never needs the network.

    Args:
        vae: PainterAutoencoder (or one with ``encode``, ``decoded_change`` and ``factor`` of the same meaning).
        unet: LocalUNet2DModel (or one that takes latents and guidance and predicts the change of the latents).
        scheduler: holds the noise schedule.
        timestep: the step of deployment.
        trust: (keep ratio, factor on the predicted change) pairs, keep ratios ascending; linear in the logarithm between them,
            constant beyond them. Chosen on validation scenes; a factor of 1 takes the prediction as it is.
        repairs_refitted: whether it has learned to repair clouds that were fitted to the views after pruning; where not,
            ``restore.Painter`` leaves their frames alone, unless the file brings a mix of its own.
        kind: "scratch", or "backbone" for parts of ``painter.backbone``; tells loading which classes to build.
    """

    vae: PainterAutoencoder
    unet: LocalUNet2DModel
    scheduler: DDIMScheduler

    def __init__(
        self,
        vae: PainterAutoencoder,
        unet: LocalUNet2DModel,
        scheduler: DDIMScheduler,
        timestep: int = TIMESTEP,
        trust: Sequence[Sequence[float]] = ((1.0, 1.0),),
        repairs_refitted: bool = True,
        kind: str = "scratch",
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler)
        table = [[float(keep), float(factor)] for keep, factor in trust]
        self.register_to_config(timestep=timestep, trust=table, repairs_refitted=bool(repairs_refitted), kind=kind)

    @torch.inference_mode()
    def __call__(
        self,
        rgb: Tensor,
        alpha: Tensor,
        depth: Tensor,
        keep_ratio: float | Tensor,
        *,
        strength: float = 1.0,
        mix: Sequence[float] | None = None,
        tile: int | None = None,
        return_dict: bool = True,
    ) -> RestoredFrame | tuple[Tensor, Tensor, Tensor]:
        """Restore a batch of frames.

        Args:
            rgb: [B, 3, H, W] display-referred, premultiplied by alpha; may exceed 1.
            alpha: [B, 1, H, W] in 0..1.
            depth: [B, 1, H, W] expected depth, any unit, 0 where nothing is hit.
            keep_ratio: share of the Gaussians that were kept, in (0, 1]; a number, or [B].
            strength: 0 returns the input, 1 the full restoration.
            mix: coefficients of ``basis.maps`` fitted to the scene, in the place of the trust; None for the denoiser's word alone.
            tile: side in pixels of the tiles to work in when memory is short; None does the whole frame at once.
            return_dict: False returns the tuple (rgb, alpha, gate).

        Returns:
            RestoredFrame; every tensor float32 on the pipeline's device, shapes as the input's. 0 <= alpha <= 1 and
            0 <= rgb <= max(alpha, the input's rgb).

        Raises:
            ExgsError: a shape, the keep ratio, the strength or the tile does not fit.
        """
        keep = check_inputs(rgb, alpha, depth, keep_ratio, strength, tile)
        if mix is not None and len(mix) != COUNT:
            raise ExgsError(f"painter: 'mix' has {len(mix)} coefficients, expected {COUNT}")
        known = torch.ones_like(keep) if mix is not None else repair_level(keep) * trust_at(self.config.trust, keep)
        if strength == 0 or not bool(known.any()):  # nothing to compute for what nobody uses
            out = torch.cat([rgb, alpha], dim=1).to(self.vae.device, torch.float32)
            weight = torch.zeros_like(out[:, 3:])
        else:
            frame, nearness, change, support = self.looked_at(rgb, alpha, depth, keep, tile)
            change = change if mix is None else mixed(frame, nearness, change, mix)
            weight = support * known.to(support).view(-1, 1, 1, 1)
            out = clamp_premultiplied(frame + strength * weight * change, frame)
        if not return_dict:
            return out[:, :3], out[:, 3:], weight
        return RestoredFrame(rgb=out[:, :3], alpha=out[:, 3:], gate=weight)

    @torch.inference_mode()
    def looked_at(self, rgb: Tensor, alpha: Tensor, depth: Tensor, keep: Tensor, tile: int | None = None) -> tuple[Tensor, ...]:
        """Frame [B, 4, H, W], nearness [B, 1, H, W], the denoiser's whole change [B, 4, H, W], and where changes are allowed
        [B, 1, H, W] (0..1), float32 on the pipeline's device; arguments as the call's, keep ratios [B]."""
        device = self.vae.device
        frame = torch.cat([rgb, alpha], dim=1).to(device, torch.float32)
        nearness = nearness_from_depth(depth.to(device, torch.float32), frame[:, 3:])
        return frame, nearness, *self._change(frame, nearness, keep.to(device, torch.float32), tile)

    def _change(self, frame: Tensor, nearness: Tensor, keep: Tensor, tile: int | None) -> tuple[Tensor, Tensor]:
        """The change [B, 4, H, W] and the support [B, 1, H, W] of a frame of any size; only what the support needs is computed."""
        height, width = frame.shape[-2:]
        block = self.vae.factor * self.unet.stride
        padded = pad_to_multiple(torch.cat([frame, nearness], dim=1), block)
        support, change = support_of(padded[:, 3:4], self.vae.factor), torch.zeros_like(padded[:, :4])
        halo = TILE_HALO if tile else self._reach()
        step = block * max((tile or max(padded.shape[-2:])) // block, 1)
        for rows, outer_rows in spans(*used(support, 2, block), padded.shape[-2], step, halo):
            for columns, outer_columns in spans(*used(support, 3, block), padded.shape[-1], step, halo):
                part = padded[..., slice(*outer_rows), slice(*outer_columns)]
                inner = (
                    ...,
                    slice(rows[0] - outer_rows[0], rows[1] - outer_rows[0]),
                    slice(columns[0] - outer_columns[0], columns[1] - outer_columns[0]),
                )
                made = predict_change(self.vae, self.unet, self.scheduler, part, keep, int(self.config.timestep))
                change[..., slice(*rows), slice(*columns)] = made[inner]
        return change[..., :height, :width], support[..., :height, :width]

    def _reach(self) -> int:
        """Pixels beyond which nothing influences a restored one, a multiple of what sides must be; all of them where unknown."""
        cells = (getattr(self.vae, "reach", None), getattr(self.unet, "reach", None))
        if cells[0] is None or cells[1] is None:
            return sys.maxsize
        stride = int(self.unet.stride)
        return int(self.vae.factor) * stride * -(-(cells[0] + cells[1]) // stride)


def predict_change(vae: Any, unet: Any, scheduler: Any, padded: Tensor, keep: Tensor, timestep: int) -> Tensor:
    """Change [B, 4, H, W], float32, of RGBA + nearness [B, 5, H, W] whose sides fit the model."""
    frame, alpha, near = padded[:, :4], padded[:, 3:4], padded[:, 4:]
    masks = guidance(alpha, near, keep, vae.factor)
    latents = vae.encode(frame.to(vae.dtype))
    timesteps = torch.full((len(frame),), timestep, dtype=torch.long, device=frame.device)
    restored, unchanged = one_step(vae, unet, scheduler, latents, masks, timesteps)
    change = vae.decoded_change(restored, unchanged).float()
    # Equal latents decode alike up to rounding, which may depend on the place in the batch; no change must be none at all.
    same = (restored == unchanged).flatten(1).all(dim=1).view(-1, 1, 1, 1)
    return change.masked_fill(same, 0.0)


def clamp_premultiplied(image: Tensor, source: Tensor) -> Tensor:
    """RGBA [B, 4, H, W] with alpha in 0..1 and colours in 0..alpha, or up to the source's where that was brighter already."""
    alpha = image[:, 3:].clamp(0, 1)
    rgb = torch.minimum(image[:, :3].clamp_min(0), torch.maximum(alpha, source[:, :3]))
    return torch.cat([rgb, alpha], dim=1)


def trust_at(trust: Sequence[Sequence[float]], keep: Tensor) -> Tensor:
    """[B] factors for the keep ratios [B] from (keep ratio, factor) pairs; see GaussPainterPipeline."""
    ratios, factors = zip(*trust, strict=True)
    return torch.from_numpy(np.interp(np.log(keep.cpu().numpy()), np.log(ratios), factors).astype(np.float32))


def pad_to_multiple(image: Tensor, block: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of ``block``; the top left corner stays in place."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % block, 0, -height % block), mode="replicate")


def used(support: Tensor, axis: int, block: int) -> tuple[int, int]:
    """First and last + 1 row (axis 2) or column (3) within MARGIN of any support [B, 1, H, W], on the block grid; (0, 0) for none."""
    found = support.amax(dim=(0, 1, 5 - axis)).nonzero()
    if not len(found):
        return 0, 0
    first, last = max(int(found[0]) - MARGIN, 0), min(int(found[-1]) + MARGIN, support.shape[axis] - 1)
    return first // block * block, (last // block + 1) * block


def spans(first: int, stop: int, length: int, step: int, halo: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut first..stop into pieces of ``step``; each as (start, stop) of itself and of itself with the halo, within 0..length."""
    pieces = [(s, min(s + step, stop)) for s in range(first, stop, step)]
    return [((a, b), (max(a - halo, 0), min(b + halo, length))) for a, b in pieces]


def check_inputs(rgb: Tensor, alpha: Tensor, depth: Tensor, keep_ratio: float | Tensor, strength: float, tile: int | None) -> Tensor:
    """The keep ratios as [B].

    Raises:
        ExgsError: names what does not fit and what was expected.
    """
    if rgb.ndim != 4 or rgb.shape[1] != 3 or min(rgb.shape) < 1:
        raise ExgsError(f"painter: rgb has shape {list(rgb.shape)}, expected [B, 3, H, W]")
    plane = (rgb.shape[0], 1, *rgb.shape[2:])
    for name, found in (("alpha", alpha), ("depth", depth)):
        if tuple(found.shape) != plane:
            raise ExgsError(f"painter: {name} has shape {list(found.shape)}, expected {list(plane)}")
    keep = torch.as_tensor(keep_ratio, dtype=torch.float32).reshape(-1)
    if len(keep) not in (1, len(rgb)) or not bool(((keep > 0) & (keep <= 1)).all()):
        raise ExgsError(f"painter: keep_ratio is {keep.tolist()}, expected one value or {len(rgb)} in (0, 1]")
    if not 0 <= strength <= 1:
        raise ExgsError(f"painter: strength is {strength}, expected 0 to 1")
    if tile is not None and tile < 1:
        raise ExgsError(f"painter: tile is {tile}, expected at least 1 pixel")
    return keep.expand(len(rgb))

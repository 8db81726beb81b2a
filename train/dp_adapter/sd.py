"""A base of diffusers: a Stable Diffusion pipeline of class 1.x, 2.x or XL, which stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from torch import Tensor

from declip_rt.errors import ConfigError
from train.distortions import RGB
from train.dp_adapter.codec import tensor


class StableDiffusion:
    """The parts of a pipeline that training uses. Texts are the photos' own, None is the empty one."""

    def __init__(self, folder: str, side: int) -> None:
        try:
            self.pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ConfigError(f"base {folder} cannot be opened as a pipeline of diffusers: {error}") from error
        if missing := [part for part in ("unet", "vae", "text_encoder") if getattr(self.pipe, part, None) is None]:
            raise ConfigError(
                f"base {folder} is a {type(self.pipe).__name__} without {' and '.join(missing)}; "
                "give a Stable Diffusion 1.x, 2.x or XL"
            )
        self.name, self.side = folder, side
        self.unet, self.vae = self.pipe.unet, self.pipe.vae
        for part in self.pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False)
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)

    @torch.no_grad()
    def encode(self, pictures: Sequence[RGB]) -> Tensor:
        """Pictures (S, S, 3) -> latents (N, C, S/8, S/8): the means of what the autoencoder says."""
        said = self.vae.encode(tensor(pictures).to(self.vae.device)).latent_dist.mean
        return (said * self.vae.config.scaling_factor).cpu()

    def condition(self, texts: Sequence[str | None]) -> dict[str, Any]:
        """What the UNet takes beside latents and times."""
        parts = [self._encoded(text or "") for text in texts]
        states = torch.cat([states for states, _ in parts])
        if not self.is_xl:
            return {"encoder_hidden_states": states}
        sizes = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]], dtype=torch.float32)
        added = {"text_embeds": torch.cat([pooled for _, pooled in parts]), "time_ids": sizes.repeat(len(texts), 1)}
        return {"encoder_hidden_states": states, "added_cond_kwargs": added}

    @cached_property
    def is_xl(self) -> bool:
        return getattr(self.pipe, "text_encoder_2", None) is not None

    @torch.no_grad()
    def _encoded(self, text: str) -> tuple[Tensor, Tensor | None]:
        if text not in self._texts:
            found = self.pipe.encode_prompt(
                text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
            )
            self._texts[text] = (found[0], found[2] if self.is_xl else None)
        return self._texts[text]

    @cached_property
    def _texts(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """They are few, and asked for again and again."""
        return {}

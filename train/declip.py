"""Stage 2: two projectors, each aligned with its own text of the same image (arXiv 2503.02206).

`python -m train.declip CONFIG.toml --manifest I2T.jsonl --out RUN` trains this stage alone;
`torchrun --nproc-per-node N -m train.declip ...` does so in N processes, each with its own batch, and with the texts of
all batches as negatives.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from declip_rt.errors import DeclipError
from train import clip, lit, parallel
from train.batches import SPACES, Batches, groups
from train.config import Config
from train.features import Encoder, digest, report
from train.i2t.manifest import Images, Row, read
from train.loop import Stage, fit, keep_log, key
from train.model import Declip, create
from train.objective import Objective

log = logging.getLogger("train.declip")


class Spaces(nn.Module):
    """Two projectors of the coarse feature; the texts' features stay as they are."""

    def __init__(self, model: Declip, online: bool) -> None:
        super().__init__()
        self.projectors = nn.ModuleDict({space: getattr(model, space) for space in SPACES})
        self.model, self.online = [model], online  # in a list: its weights are not this module's
        if online:
            self.visual = model.clip.visual

    def spaces(self, images: Tensor) -> dict[str, Tensor]:
        coarse = self.model[0].coarse(images) if self.online else images
        return {space: projector(coarse) for space, projector in self.projectors.items()}

    @torch.no_grad()
    def words(self, sentences: Tensor) -> Tensor:
        where = self.model[0].clip.logit_scale.device
        return clip.project(self.model[0].clip, sentences.to(where)).to(sentences.device)

    def scale(self) -> Tensor:
        return self.model[0].clip.logit_scale.exp().detach()


def train(model: Declip, config: Config, rows: list[Row], images: Images, out: Path) -> None:
    """Trains the projectors, and with `declip.unfreeze` the image tower's last blocks, in place.

    Keeps features in `out/features` (of images, unless blocks are unfrozen), and its checkpoint in `out/projectors.pt`.

    Raises:
        ConfigError: rows or texts are missing, a text is too long, or the settings are at odds with the model.
        ImageError: no image can be read.
    """
    c = config.declip
    if c.unfreeze:
        for parameter in clip.last_blocks(model.clip.visual, c.unfreeze):
            parameter.requires_grad_(True)
    encode = Encoder(model, images, config.views, out / "features", c.workers)
    found = groups(rows, c, config, encode)
    sides = Spaces(model, c.unfreeze > 0)
    objective = Objective(sides, model, config.clip.model, c, found, out / "features")  # bad texts come before images
    for group in found if c.unfreeze == 0 else ():
        group.keep(encode(group.items, group.name))
    stage = Stage(
        name="declip",
        checkpoint=out / "projectors.pt",
        model=sides,
        batches=lambda: Batches(found, objective.texts),
        images=sum(group.size for group in found),
        losses=objective,
        weights=objective.weights,
        key=key(c, config.views, config.features.jitters, encode.digest, digest(clip.learned(model.clip)), rows),
        seed=config.seed + 2,
    )
    fit(stage, c if c.unfreeze else msgspec.structs.replace(c, workers=0))
    model.clip.requires_grad_(False)
    report(sorted(set(parallel.gather_items(sorted(objective.failures)))), len(rows), "training")


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.declip", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    parser.add_argument("--manifest", type=Path, required=True, metavar="I2T.jsonl", help="images and their two texts")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, features, projectors.pt")
    options = parser.parse_args()
    with parallel.processes():
        keep_log(options.out)
        try:
            config = Config.read(options.config)
            model = create(config, options.config.parent)
            lit.restore(model, config, options.out)
            train(model, config, read(options.manifest), Images(options.manifest.parent), options.out)
        except DeclipError as error:
            print(f"train: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

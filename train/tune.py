"""Before stage 1: the image tower's last stages learn quality, so that its features tell more of it.

They were trained to name what a photo shows, whatever its quality. Here they learn from people's scores and from photos
that only get worse; a penalty keeps them near what they were. All before them stays, and so its maps are computed once.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from declip_rt.errors import ConfigError
from train import losses
from train.config import Config, TuneConfig
from train.features import Encoder, digest
from train.i2t.manifest import Images
from train.loop import Stage, fit, key
from train.model import Declip
from train.rated import Rated, rated
from train.tower import LATE, Stages, round_to_half

PENALTY = 1.0  # of the first readings: on their squared weights, for each photo
MARGIN, STEP = 0.1, 0.015  # by which scores should fall along series and ladders, in deviations of people's
BLOCK = 64  # photos that are computed at once


def tune(model: Declip, config: Config, data: Path | None, out: Path) -> None:
    """Trains the image tower of `model.clip` in place, resuming from `out/tune.pt`; 0 steps keep it as it is.

    Raises:
        ConfigError: the tower has no stages, or there are no technical ratings.
    """
    c = config.tune
    if c.steps == 0:
        return
    tower = _tower(model)
    encode = Encoder(model, Images(data or out), config.views, out / "features", c.workers, _First(tower))
    seen = rated(encode.views, c.features, data, config.seed, config.heads.sets)
    if "technical" not in (some.head for some in seen.scored):
        raise ConfigError("no ratings of technical quality to tune the tower by; set tune.steps = 0")
    tuned = _Tuned(tower, seen)
    learnt = digest([seen.series, seen.ladders, *(some.scores for some in seen.scored)])
    stage = Stage(
        name="tune",
        checkpoint=out / "tune.pt",
        model=tuned,
        batches=lambda: _Draws(seen, c, config.seed),
        images=c.rated * len(seen.scored) + c.series * seen.series.shape[1] + c.ladders * seen.ladders.shape[1],
        losses=tuned.losses,
        weights={"rating": c.rating_weight, "rank": c.rank_weight, "keep": c.keep_weight},
        key=key(c, encode.digest, learnt),
        seed=config.seed,
    )
    fit(stage, msgspec.structs.replace(c, workers=0))
    round_to_half(tower.requires_grad_(False))


def restore(model: Declip, config: Config, out: Path) -> None:
    """Gives the image tower what `tune` left in `out`. Raises ConfigError where it has not ended there."""
    if config.tune.steps == 0:
        return
    tower, file = _tower(model), out / "tune.pt"
    state = torch.load(file, weights_only=True, map_location="cpu") if file.is_file() else {"step": 0}
    if state["step"] != config.tune.steps:
        raise ConfigError(f"the tower's tuning has not ended in {out}: python -m train.run does it")
    parts = nn.ModuleDict({"blocks": tower.blocks[-LATE:], "last": tower.last})
    parts.load_state_dict({name: state["average"][name] for name in parts.state_dict()})
    round_to_half(tower)


def _tower(model: Declip) -> Stages:
    tower = getattr(model.clip.visual, "trunk", None)
    if not isinstance(tower, Stages):
        raise ConfigError("no tower but those of EfficientNet's stages can be tuned; set tune.steps = 0")
    return tower


class _First(nn.Module):
    """(N, 3, S, S) -> (N, F): the first stages' features and their map, in FP16."""

    def __init__(self, tower: Stages) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, x: Tensor) -> Tensor:
        found, x = self.tower.begin(x)
        return torch.cat([found, x.flatten(1)], 1).half()


class _Draw(msgspec.Struct, frozen=True):
    """A batch, by numbers."""

    scored: list[tuple[Tensor, Tensor]]  # of each set: photos and jitters (B,)
    series: Tensor
    ladders: Tensor
    view: int  # of series and ladders; scored photos are seen whole


class _Draws(Dataset[_Draw]):
    """Draw i is a pure function of i."""

    def __init__(self, seen: Rated, config: TuneConfig, seed: int) -> None:
        self.seen, self.config, self.seed = seen, config, seed

    def __getitem__(self, i: int) -> _Draw:
        rng, c = np.random.default_rng((self.seed, 8, i)), self.config

        def some(of: int, count: int) -> Tensor:
            return torch.from_numpy(rng.integers(of, size=count))

        shapes = [scored.features.shape for scored in self.seen.scored]
        return _Draw(
            scored=[(some(shape[0], c.rated), some(shape[1], c.rated)) for shape in shapes],
            series=some(len(self.seen.series), c.series),
            ladders=some(len(self.seen.ladders), c.ladders),
            view=int(rng.integers(shapes[0][2])),
        )


class _Tuned(nn.Module):
    """The tower's last stages, and a linear reading of each set's scores, of zero mean and unit deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, tower: Stages, seen: Rated) -> None:
        super().__init__()
        self.blocks, self.last = tower.blocks[-LATE:].requires_grad_(True), tower.last.requires_grad_(True)
        self.width = next(part for part in self.blocks.modules() if isinstance(part, nn.Conv2d)).in_channels
        self.register_buffer("mean", torch.zeros(tower.num_features))
        self.register_buffer("deviation", torch.ones(tower.num_features))
        self._tower, self._seen = [tower], seen  # a list: its other weights are not trained
        with torch.no_grad():
            before = [self._all(some.features) for some in seen.scored]
            flat = torch.cat([features.flatten(0, 2) for features in before])
            self.mean.copy_(flat.mean(0))
            self.deviation.copy_(flat.std(0).clamp_min(1e-6))
            self._before = [(features - self.mean) / self.deviation for features in before]
        self.scores = [(some.scores - some.scores.mean()) / some.scores.std() for some in seen.scored]
        self.readings = nn.ModuleList(map(_reading, self._before, self.scores))
        self._technical = [some.head for some in seen.scored].index("technical")

    def forward(self, stored: Tensor) -> Tensor:
        """What _First made of views, (..., F) -> standardised features (..., num_features)."""
        (tower,) = self._tower
        flat = stored.reshape(-1, stored.shape[-1]).to(self.mean)
        found, x = flat[:, : tower.first_width], flat[:, tower.first_width :]
        side = isqrt(x.shape[1] // self.width)
        x = x.unflatten(1, (self.width, side, side)).contiguous(memory_format=torch.channels_last)
        made = (torch.cat([found, tower.end(x)], 1) - self.mean) / self.deviation
        return made.unflatten(0, stored.shape[:-1])

    def losses(self, draw: _Draw) -> dict[str, Tensor]:
        """`rating`: of people's scores; `rank`: of what only gets worse; `keep`: how far features have moved."""
        rating, keep = [], []
        for k, (photos, jitters) in enumerate(draw.scored):
            features = self(self._seen.scored[k].features[photos, jitters])
            read = self.readings[k](features.mean(1)).squeeze(1)
            rating.append(F.mse_loss(read, self.scores[k][photos].to(read)))
            keep.append(F.mse_loss(features, self._before[k][photos, jitters].to(features)))
        rank = [
            losses.ranking(self.readings[self._technical](self(falling[which, :, draw.view])).squeeze(2), margin)
            / margin
            for falling, which, margin in (
                (self._seen.series, draw.series, MARGIN),
                (self._seen.ladders, draw.ladders, STEP),
            )
        ]
        return {"rating": sum(rating), "rank": sum(rank), "keep": sum(keep)}

    def _all(self, features: Tensor) -> Tensor:
        """(P, J, V, F) -> (P, J, V, num_features)."""
        return torch.cat([self(part) for part in features.split(BLOCK)])


def _reading(features: Tensor, scores: Tensor) -> nn.Linear:
    """The ridge regression of scores (P,) on the mean over views of standardised features (P, J, V, F)."""
    x = features.mean(2).flatten(0, 1).double()
    y = scores.double().repeat_interleave(features.shape[1])
    penalty = PENALTY * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    reading = nn.Linear(x.shape[1], 1)
    with torch.no_grad():
        reading.weight.copy_(torch.linalg.solve(x.T @ x + penalty, x.T @ y))
        reading.bias.zero_()
    return reading

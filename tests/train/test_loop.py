"""The loop resumes bit-exactly, averages weights, and stops a run that diverges."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import Dataset

from declip_rt import ConfigError
from train.config import LoopConfig
from train.loop import Stage, fit, key

CONFIG = LoopConfig(steps=6, lr=0.05, warmup=2, workers=0, save_every=3, log_every=2)


class Numbers(Dataset[Tensor]):
    """`numbers[i]` (n, 4), the same for the same i; halves of a batch where `n` is 4 are the batches where it is 2."""

    def __init__(self, n: int = 4) -> None:
        self.n = n

    def __getitem__(self, i: int) -> Tensor:
        pairs = [
            torch.randn(2, 4, generator=torch.Generator().manual_seed(self.n // 2 * i + j)) for j in range(self.n // 2)
        ]
        return torch.cat(pairs)


class Killed(Exception):
    pass


def stage(out: Path, n: int = 4, name: str = "sum", dropout: float = 0.5, **options: object) -> Stage:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=0.3), nn.Dropout(dropout), nn.Linear(8, 1))
    out.mkdir(exist_ok=True)
    return Stage(
        name="toy",
        checkpoint=out / "toy.pt",
        model=model,
        batches=lambda: Numbers(n),
        images=n,
        losses=lambda batch: {name: (model(batch)[:, 0] - batch.sum(1)).square().mean()},
        weights={name: 1.0},
        key="k",
        seed=5,
        **options,
    )


def weights(trained: Stage) -> dict[str, Tensor]:
    return trained.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("precision", "accumulate"), [("fp32", 1), ("fp32", 2), ("bf16", 1), ("fp16", 1)])
def test_three_steps_and_three_more_are_six(tmp_path: Path, precision: str, accumulate: int) -> None:
    config = msgspec.structs.replace(CONFIG, precision=precision, accumulate=accumulate)
    straight = stage(tmp_path / "straight")
    start = weights(straight)["0.weight"].clone()
    fit(straight, config)
    assert not torch.equal(start, weights(straight)["0.weight"])

    def die() -> str:
        raise Killed

    with pytest.raises(Killed):
        fit(stage(tmp_path / "broken", report=die), config)
    assert torch.load(tmp_path / "broken" / "toy.pt", weights_only=True)["step"] == 3
    torch.randn(7)  # the random state outside is not the run's
    resumed = stage(tmp_path / "broken")
    fit(resumed, config)
    assert same(weights(straight), weights(resumed))
    ends = [torch.load(tmp_path / run / "toy.pt", weights_only=True) for run in ("straight", "broken")]
    assert same(ends[0]["weights"], ends[1]["weights"])
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights(resumed).values())


def test_a_finished_run_gives_its_weights_again(tmp_path: Path) -> None:
    first, second = stage(tmp_path), stage(tmp_path)
    fit(first, CONFIG)
    written = (tmp_path / "toy.pt").stat().st_mtime_ns
    fit(second, CONFIG)
    assert same(weights(first), weights(second))
    assert (tmp_path / "toy.pt").stat().st_mtime_ns == written


def test_the_averaged_weights_are_kept_and_reported(tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []
    averaged = stage(
        tmp_path / "a", report=lambda: seen.append({k: v.clone() for k, v in weights(averaged).items()}) or ""
    )
    fit(averaged, CONFIG)
    state = torch.load(tmp_path / "a" / "toy.pt", weights_only=True)
    assert same(weights(averaged), state["average"])
    assert same(weights(averaged), seen[-1])
    assert not torch.equal(state["average"]["0.weight"], state["weights"]["0.weight"])
    plain = stage(tmp_path / "b")
    fit(plain, msgspec.structs.replace(CONFIG, ema=0.0))
    assert same(weights(plain), torch.load(tmp_path / "b" / "toy.pt", weights_only=True)["weights"])
    assert same(state["weights"], weights(plain)), "averaging does not change the training"


def test_accumulated_halves_are_a_whole_batch(tmp_path: Path) -> None:
    whole, halves = stage(tmp_path / "whole", 4, dropout=0.0), stage(tmp_path / "halves", 2, dropout=0.0)
    for each, accumulate in ((whole, 1), (halves, 2)):
        each.model.eval()  # the batch's statistics would differ
        fit(each, msgspec.structs.replace(CONFIG, accumulate=accumulate))
    assert torch.allclose(weights(whole)["0.weight"], weights(halves)["0.weight"], atol=1e-5)


def test_frozen_parameters_stay_and_are_not_kept(tmp_path: Path) -> None:
    part = stage(tmp_path)
    before = weights(part)["0.weight"].clone()
    part.model[0].requires_grad_(False)
    fit(part, CONFIG)
    assert torch.equal(weights(part)["0.weight"], before)
    assert "0.weight" not in torch.load(tmp_path / "toy.pt", weights_only=True)["weights"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, value: float) -> None:
    wild = stage(tmp_path, name="colors")
    spoilt = msgspec.structs.replace(CONFIG, steps=4)
    calls = iter([1.0, 1.0, value])
    object.__setattr__(wild, "losses", lambda batch: {"colors": wild.model(batch).mean() * next(calls)})
    with pytest.raises(ConfigError, match=r"colors became (nan|inf) at step 3; lower toy\.lr"):
        fit(wild, spoilt)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    fit(stage(tmp_path), CONFIG)
    other = stage(tmp_path)
    object.__setattr__(other, "key", "another")
    with pytest.raises(ConfigError, match=r"toy\.pt was trained with other settings"):
        fit(other, CONFIG)


def test_a_key_names_what_changes_the_weights() -> None:
    assert key(CONFIG, 1) == key(msgspec.structs.replace(CONFIG, workers=9, save_every=50), 1)
    assert key(CONFIG, 1) != key(CONFIG, 2)
    assert key(CONFIG, 1) != key(msgspec.structs.replace(CONFIG, lr=0.1), 1)


def test_scalars_and_log_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "train"):
        fit(stage(tmp_path), CONFIG)
    assert "training on cpu, fp32" in caplog.text
    assert "step 2/6 sum " in caplog.text
    assert "images/s" in caplog.text
    assert "\r" not in capsys.readouterr().err, "no bar where there is no terminal"
    events = EventAccumulator(str(tmp_path / "tensorboard" / "toy")).Reload()
    assert [event.step for event in events.Scalars("sum")] == [2, 4, 6]
    rates = [event.value for event in events.Scalars("lr")]
    assert rates[0] == pytest.approx(0.05)
    assert rates[0] > rates[1] > rates[2] > 0

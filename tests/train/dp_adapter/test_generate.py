"""Pictures by two references, from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from declip_rt import Bundle, Scorer
from declip_rt.errors import ConfigError
from tests.conftest import encoded, picture
from tests.train.dp_adapter import features, pipelines
from tests.train.dp_adapter.conftest import Made
from tests.train.dp_adapter.test_adapter import opened
from train.dp_adapter import generate
from train.dp_adapter.card import Card
from train.dp_adapter.generate import Sampling, draw, open_pipeline

Call = Callable[..., int]


@pytest.fixture
def call(sd1: Made, monkeypatch: pytest.MonkeyPatch) -> Call:
    def run(*more: object, base: Path = sd1.base, adapter: Path = sd1.adapter) -> int:
        own = ["--base", base, "--adapter", adapter, "--device", "cpu", "--steps", 2, *more]
        monkeypatch.setattr("sys.argv", ["generate", *map(str, own)])
        return generate.main()

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(picture()))
    return path


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_it_draws_what_plain_diffusers_draws(
    made: Made, call: Call, photo: Path, tmp_path: Path, scorer: Scorer, guidance: float
) -> None:
    given = ["--perceptual", photo, "--semantic", photo, "--lambda-p", 0.8, "--lambda-s", 0.6, "--prompt", "a cat"]
    more = ["--seed", 3, "--guidance", guidance, "--out", tmp_path / "ours.png"]
    assert call(*given, *more, base=made.base, adapter=made.adapter) == 0

    pipeline = opened(made.base, made.adapter)
    pipeline.set_ip_adapter_scale([0.8, 0.6])
    embedding = scorer.embed(photo)
    embeds = [torch.from_numpy(each)[None, None] for each in (embedding.perceptual, embedding.semantic)]
    theirs = pipeline(
        "a cat",
        guidance_scale=guidance,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(3),
        ip_adapter_image_embeds=[torch.cat([each * 0, each]) if guidance > 1 else each for each in embeds],
    ).images[0]
    assert np.array_equal(Image.open(tmp_path / "ours.png"), theirs)


def test_a_grid_has_a_row_for_each_perceptual_and_a_column_for_each_semantic_scale(
    call: Call, photo: Path, tmp_path: Path
) -> None:
    given = ["--perceptual", photo, "--semantic", photo]
    assert call(*given, "--lambda-p", 0, 1, "--lambda-s", 0, 1, 2, "--grid", tmp_path / "grid.png") == 0
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    for p, s in ((0, 2), (1, 0), (1, 1)):
        assert call(*given, "--lambda-p", p, "--lambda-s", s, "--out", tmp_path / "one.png") == 0
        one = np.asarray(Image.open(tmp_path / "one.png")).repeat(8, 0).repeat(8, 1)  # as small ones are enlarged
        left = sheet.shape[1] - (3 - s) * 136 - 8  # pictures of 128 pixels, gaps of 8
        cells = [sheet[top : top + 128, left : left + 128] for top in range(sheet.shape[0] - 127)]
        found = [top for top, cell in enumerate(cells) if np.array_equal(cell, one)]
        assert len(found) == 1
        assert (found[0] > 136) == (p == 1)


def test_one_number_in_a_grid_is_a_dial_from_nothing_to_it(
    sd1: Made, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    asked = []
    monkeypatch.setattr(generate, "draw", lambda *given: asked.append(tuple(given[2])) or Image.new("RGB", (16, 16)))
    assert call("--perceptual", photo, "--semantic", photo, "--lambda-s", 0.5, "--grid", tmp_path / "grid.png") == 0
    assert asked == [(p, s) for p in (0.0, 0.5, 1.0) for s in (0.0, 0.25, 0.5)]  # 1 is the adapter's own
    asked.clear()
    assert call("--semantic", photo, "--grid", tmp_path / "grid.png") == 0
    assert asked == [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0)]


def test_a_reference_that_is_left_out_has_no_influence(sd1: Made) -> None:
    pipeline = open_pipeline(str(sd1.base), sd1.adapter, Card.read(sd1.adapter), "cpu", torch.float32)
    perceptual, other = pipelines.features(1, 2)
    sampling = Sampling(steps=2)
    alone = draw(pipeline, {"perceptual": perceptual}, [1.0, 1.0], sampling)
    zero = draw(pipeline, {"perceptual": perceptual, "semantic": other}, [1.0, 0.0], sampling)
    both = draw(pipeline, {"perceptual": perceptual, "semantic": other}, [1.0, 1.0], sampling)
    assert np.array_equal(alone, zero)
    assert not np.array_equal(alone, both)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_references_may_be_features(call: Call, bundle: Bundle, photo: Path, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"features{suffix}"
    features.write(file, bundle, [str(photo), "b.jpg"])
    pictures = []
    for row in (photo, "b.jpg"):
        assert call("--perceptual", f"{file}#{row}", "--out", tmp_path / "out.png") == 0
        pictures.append(np.asarray(Image.open(tmp_path / "out.png")))
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--perceptual PHOTO", "give a file to write: --out for a picture, --grid for a grid"),
        ("--out FOLDER/out.png", "give --perceptual, --semantic or both"),
        ("--perceptual PHOTO --out FOLDER/out.txt", "--out must end in .png"),
        ("--perceptual PHOTO --lambda-s 1 --out FOLDER/out.png", "--lambda-s is of --semantic: give that, too"),
        ("--perceptual PHOTO --lambda-p 0 1 --out FOLDER/out.png", "--out takes one --lambda-p; more are for --grid"),
        ("--perceptual PHOTO --out FOLDER/gone/out.png", "gone is no folder; make it first"),
        ("--perceptual PHOTO --out FOLDER/out.png --device cuda:99", "--device cuda:99 cannot be used"),
    ],
)
def test_options_at_odds_are_told(
    call: Call, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    words = given.replace("PHOTO", str(photo)).replace("FOLDER", str(tmp_path)).split()
    assert call(*words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("generate: ")
    assert said in last
    assert not (tmp_path / "out.png").exists()


def test_another_base_is_refused_with_both_names(
    call: Call, folder: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = pipelines.write("sd2", folder)
    assert call("--perceptual", photo, "--out", tmp_path / "out.png", base=base) == 2
    wanted = (
        f"trained on sd1 (4 cross-attentions of cross_attention_dim 24) and does not fit {base} (4 cross-attentions of"
    )
    assert wanted in capsys.readouterr().err


def test_a_folder_that_holds_no_pipeline_is_told(
    call: Call, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--perceptual", photo, "--out", tmp_path / "out.png", base=tmp_path) == 2
    assert f"--base {tmp_path} cannot be opened as a pipeline of diffusers" in capsys.readouterr().err


def test_a_pipeline_of_another_kind_is_told(sd1: Made, tmp_path: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        norm_num_groups=2,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    with pytest.raises(ConfigError, match="is a UNet2DModel with cross_attention_dim None"):
        open_pipeline(str(tmp_path / "ddpm"), sd1.adapter, Card.read(sd1.adapter), "cpu", torch.float32)


def test_an_altered_adapter_is_refused(
    sd1: Made, call: Call, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Path(shutil.copytree(sd1.adapter, tmp_path / "adapter"))
    (adapter / "perceptual.safetensors").write_bytes(b"")
    assert call("--perceptual", photo, "--out", tmp_path / "out.png", adapter=adapter) == 2
    assert "perceptual.safetensors was altered" in capsys.readouterr().err

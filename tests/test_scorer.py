"""The Python API: any kind of image in, the same score out."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from declip_rt import Bundle, BundleError, ConfigError, EngineError, ImageError, Prompts, Score, Scorer
from tests.conftest import encoded, picture

SAME = 1e-5  # what a score may depend on batch size, order, neighbours and workers, on the CPU


def values(score: Score) -> list[float]:
    return [score.technical, score.aesthetic, *score.attributes.values()]


def test_a_score_is_typed_frozen_and_json_ready(scorer: Scorer, bundle: Bundle) -> None:
    score = scorer.score(picture())
    assert all(0 <= value <= 1 for value in values(score))
    assert score.percentile is not None
    assert 0 <= score.percentile <= 100
    assert (score.width, score.height) == (320, 260)
    assert set(score.attributes) == {head.name for head in bundle.heads if head.kind == "attribute"}
    assert json.loads(json.dumps(score.to_dict()))["technical"] == score.technical
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.technical = 1.0  # type: ignore[misc]


def test_every_kind_of_image_gives_the_same_score(scorer: Scorer, tmp_path: Path) -> None:
    rgb = picture()
    data = encoded(rgb, "PNG")
    (tmp_path / "a.png").write_bytes(data)
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), data, bytearray(data), rgb, Image.fromarray(rgb)]
    scores = [scorer.score(kind) for kind in kinds]
    assert all(score == scores[0] for score in scores)


def test_worse_pictures_score_lower(scorer: Scorer) -> None:
    folder = Path(__file__).parents[1] / "examples" / "photos"
    degraded = sorted(folder.glob("*-*.jpg"))
    assert len(degraded) >= 6
    for path in degraded:
        original = folder / f"{path.name.split('-')[0]}.jpg"
        assert scorer.score(path).technical < scorer.score(original).technical, path.name


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("workers", [1, 5])
def test_scores_depend_on_nothing_but_the_image(scorer: Scorer, batch: int, workers: int) -> None:
    images = [picture(seed, 300 + 20 * seed) for seed in range(7)]
    alone = np.array([values(scorer.score(image)) for image in images])
    with Scorer(device="cpu", batch=batch, workers=workers) as other:
        together = np.array([values(score) for score in other.score_many(images)])
        backwards = np.array([values(score) for score in other.score_many(images[::-1])])[::-1]
    assert np.abs(together - alone).max() <= SAME
    assert np.abs(backwards - alone).max() <= SAME


def test_score_many_streams_in_order(scorer: Scorer) -> None:
    widths = [200 + i for i in range(60)]
    taken = 0

    def images():  # type: ignore[no-untyped-def]
        nonlocal taken
        for width in widths:
            taken += 1
            yield np.full((50, width, 3), 99, np.uint8)

    stream = scorer.score_many(images())
    assert next(stream).width == 200
    assert taken < len(widths)
    assert [score.width for score in stream] == widths[1:]


def test_a_bad_image_raises_or_is_returned(scorer: Scorer) -> None:
    images = [picture(), b"junk", picture(1)]
    with pytest.raises(ImageError, match="not an image"):
        list(scorer.score_many(images))
    first, error, last = scorer.score_many(images, return_errors=True)
    assert isinstance(first, Score)
    assert isinstance(error, ImageError)
    assert isinstance(last, Score)


@pytest.mark.parametrize("image", ["nowhere.jpg", b"", np.zeros((3, 3)), 7])
def test_what_cannot_be_scored_is_an_image_error(scorer: Scorer, image: object) -> None:
    with pytest.raises(ImageError):
        scorer.score(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (223, 225)])
def test_extreme_shapes_score(scorer: Scorer, size: tuple[int, int]) -> None:
    assert 0 <= scorer.score(Image.new("RGB", size, "teal")).technical <= 1


def test_embed_gives_two_unit_features(scorer: Scorer, bundle: Bundle) -> None:
    embedding = scorer.embed(picture())
    for feature in (embedding.perceptual, embedding.semantic):
        assert feature.shape == (bundle.manifest.features,)
        assert np.linalg.norm(feature) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(embedding.perceptual, embedding.semantic)


def test_unknown_device_and_model() -> None:
    with pytest.raises(ConfigError, match="'abacus'"):
        Scorer(device="abacus")
    with pytest.raises(BundleError, match=r"'declip-huge'.*embedded models: declip-tiny"):
        Scorer("declip-huge", "cpu")


def test_prompts_are_part_of_the_score(prompted: Path) -> None:
    calm = Prompts("calm", ("a calm scene",), ("a busy scene",))
    with Scorer(prompted, "cpu", prompts=[calm]) as scorer:
        score = scorer.score(picture())
    assert 0 < score.prompts["calm"] < 1
    assert json.loads(json.dumps(score.to_dict()))["prompts"] == score.prompts
    with Scorer(prompted, "cpu") as plain:
        assert dataclasses.replace(score, prompts={}) == plain.score(picture())


def test_scoring_imports_no_torch(prompted: Path) -> None:
    code = (
        "import sys, numpy as np, declip_rt\n"
        "calm = declip_rt.Prompts('calm', ('a calm scene',), ('a busy scene',))\n"
        f"scorer = declip_rt.Scorer({str(prompted)!r}, 'cpu', prompts=[calm])\n"
        "assert 'calm' in scorer.score(np.zeros((64, 64, 3), np.uint8)).prompts\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision', 'open_clip', 'train', 'export')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_decoding_smaller_hardly_moves_the_scores(scorer: Scorer) -> None:
    large = encoded(picture(2, 2400, 2100), quality=95)
    with Scorer(device="cpu", decode_scale="auto") as quick:
        ours, reference = quick.score(large), scorer.score(large)
    assert (ours.width, ours.height) == (2400, 2100)
    assert 0 < abs(ours.technical - reference.technical) < 0.1
    with pytest.raises(ConfigError, match="choose full or auto"):
        Scorer(device="cpu", decode_scale="half")


def test_a_call_before_the_last_has_ended_is_refused_and_spoils_nothing(scorer: Scorer) -> None:
    images = [picture(i) for i in range(30)]
    expected = [score.technical for score in scorer.score_many(images)]
    found = []
    for i, score in enumerate(scorer.score_many(images)):
        found.append(score.technical)
        if i == 3:
            with pytest.raises(EngineError, match="is scoring already: finish or close that iterator"):
                scorer.embed(images[0])
    assert found == expected
    stopped = scorer.score_many(images)
    next(stopped)
    stopped.close()
    assert scorer.score(images[0]).technical == expected[0]


@pytest.mark.parametrize("count", [0, -1])
def test_counts_are_positive(count: int) -> None:
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        Scorer(workers=count)
    with pytest.raises(ConfigError, match="threads must be at least 1"):
        Scorer(threads=count)


def test_an_array_of_another_library_is_taken_as_it_is(scorer: Scorer) -> None:
    torch = pytest.importorskip("torch")
    rgb = picture(3)
    assert scorer.score(torch.from_numpy(rgb)) == scorer.score(rgb)
    with pytest.raises(ImageError, match=r"must be RGB uint8 \(H, W, 3\)"):
        scorer.score(torch.zeros(3, 9, 9))
    with pytest.raises(ImageError, match="cannot read a Tensor"):
        scorer.score(torch.zeros(9, 9, 3, dtype=torch.bfloat16))

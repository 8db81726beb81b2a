"""The Python API: any kind of image in, the same score out."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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
    large = encoded(picture(2, 4400, 4200), quality=95)
    with Scorer(device="cpu", decode_scale="auto") as quick:
        ours, reference = quick.score(large), scorer.score(large)
    assert (ours.width, ours.height) == (4400, 4200)
    assert 0 < abs(ours.technical - reference.technical) < 0.1
    with pytest.raises(ConfigError, match="choose full or auto"):
        Scorer(device="cpu", decode_scale="half")  # type: ignore[arg-type]


def test_an_iterator_that_is_not_read_to_its_end_holds_nobody_up(scorer: Scorer) -> None:
    images = [picture(i) for i in range(60)]
    expected = list(scorer.score_many(images))
    open_one = scorer.score_many(images)
    found = [next(open_one)]
    assert scorer.score(images[7]) == expected[7]
    assert list(scorer.score_many(images[:20])) == expected[:20]
    found.extend(open_one)
    assert found == expected
    stopped = scorer.score_many(images)
    next(stopped)
    stopped.close()
    assert scorer.score(images[0]) == expected[0]


def test_threads_share_a_scorer(scorer: Scorer) -> None:
    images = [picture(i) for i in range(12)]
    expected = [scorer.score(image) for image in images]
    features = [scorer.embed(image).semantic for image in images]
    with ThreadPoolExecutor(16) as threads:
        scores = [threads.submit(scorer.score, images[i % 12]) for i in range(120)]
        embeddings = [threads.submit(scorer.embed, images[i % 12]) for i in range(60)]
        many = [threads.submit(lambda: list(scorer.score_many(images))) for _ in range(4)]
        for i, score in enumerate(scores):
            assert np.abs(np.array(values(score.result(60))) - values(expected[i % 12])).max() <= SAME
        for i, embedding in enumerate(embeddings):
            assert np.abs(embedding.result(60).semantic - features[i % 12]).max() <= SAME
        for run in many:
            assert [score.width for score in run.result(60)] == [320] * 12


FORKED = """
import os, sys, threading, declip_rt
photo = sys.argv[1]
scorer = declip_rt.Scorer(device="cpu", threads=2, workers=2)
stream = scorer.score_many([photo] * 50)
next(stream)
child = os.fork()
if not child:
    for call in (lambda: scorer.score(photo), lambda: next(stream), lambda: scorer.embed_many([photo])):
        try:
            call()
        except declip_rt.EngineError as error:
            assert "open a Scorer in each process" in str(error), error
        else:
            raise AssertionError("it scored")
    scorer.close()
    with declip_rt.Scorer(device="cpu") as own:
        print("child", own.score(photo).technical, flush=True)
    del scorer, stream
    sys.exit(7)
print("parent", scorer.score(photo).technical, flush=True)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_what_to_do_and_never_hangs(folder: Path) -> None:
    command = [sys.executable, "-W", "error::DeprecationWarning:declip_rt", "-c", FORKED, folder / "a.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (_, one), (_, other) = (line.split() for line in done.stdout.splitlines())
    assert one == other


def test_a_closed_scorer_refuses_and_closes_again(bundle: Bundle) -> None:
    scorer = Scorer(device="cpu", batch=2)
    stream = scorer.score_many([picture()] * 40)
    next(stream)
    assert not scorer.is_closed
    for _ in range(2):
        scorer.close()
        assert scorer.is_closed
    calls = (
        lambda: scorer.score(picture()),
        lambda: scorer.embed(picture()),
        lambda: scorer.score_many([]),
        lambda: scorer.embed_many([]),
        lambda: list(stream),
    )
    for call in calls:
        with pytest.raises(EngineError, match="this scorer is closed; open another"):
            call()
    with pytest.raises(EngineError, match="this scorer is closed"), scorer:
        pass
    assert repr(scorer) == "Scorer(declip-tiny, cpu, fp32, batch 2, closed)"


CLOSING = """
import gc, os, resource, threading, declip_rt
gc.disable()  # what a scorer holds must go with it
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
def use(close):
    scorer = declip_rt.Scorer(device="cpu", threads=2, workers=2, batch=4)
    assert len([*scorer.score_many([b"no image"] * 9, return_errors=True)]) == 9
    if close:
        scorer.close()
def peak(close, times):  # what malloc keeps of freed pages goes up and down by 40 MB, its peak does not
    return max((use(close), held())[1] for _ in range(times))
before = peak(True, 40), len(os.listdir("/proc/self/fd")), threading.active_count()
closed = peak(True, 25) - before[0]
assert len(os.listdir("/proc/self/fd")) <= before[1]
assert threading.active_count() == before[2]
print(closed, peak(False, 25) - before[0])  # and without close() too, as nothing refers to itself
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_closing_frees_all_at_once_without_the_garbage_collector() -> None:
    done = subprocess.run([sys.executable, "-c", CLOSING], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    closed, dropped = map(float, done.stdout.split())
    assert closed < 10, "25 scorers, whose graph alone is 7 MB"
    assert dropped < 20


def test_an_error_knows_its_image(scorer: Scorer, folder: Path) -> None:
    with pytest.raises(ImageError) as caught:
        scorer.score("nowhere.jpg")
    error = caught.value
    assert (error.image, error.index) == ("nowhere.jpg", None)
    assert error.reason == "cannot be read: No such file or directory"
    assert str(error) == "nowhere.jpg: cannot be read: No such file or directory"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    images = [folder / "a.jpg", b"no image", Path("nowhere.jpg"), np.zeros((3, 3), np.uint8)]
    found = list(scorer.score_many(images, return_errors=True))
    assert [(each.image, each.index) for each in found if isinstance(each, ImageError)] == [
        (None, 1),
        ("nowhere.jpg", 2),
        (None, 3),
    ]
    assert str(found[1]).startswith("image 1: not an image")
    with pytest.raises(ImageError, match=r"^image 1: not an image"):
        list(scorer.embed_many(images))


@pytest.mark.parametrize(
    "one", ["a.jpg", Path("a.jpg"), b"bytes", picture(), Image.new("RGB", (9, 9))], ids=lambda one: type(one).__name__
)
def test_one_image_is_no_iterable_of_images(scorer: Scorer, one: object) -> None:
    for call in (scorer.score_many, scorer.embed_many):
        with pytest.raises(TypeError, match=r"an iterable of images, not one .*; give \[image\]"):
            call(one)  # type: ignore[operator]


def test_a_stack_of_images_is_an_iterable_of_images(scorer: Scorer) -> None:
    stack = np.stack([picture(0), picture(1)])
    assert list(scorer.score_many(stack)) == [scorer.score(picture(0)), scorer.score(picture(1))]


def test_an_array_of_paths_is_an_iterable_of_images(scorer: Scorer, folder: Path) -> None:
    paths = sorted(map(str, folder.iterdir()))
    assert list(scorer.score_many(np.array(paths))) == list(scorer.score_many(paths))
    with pytest.raises(TypeError):
        scorer.score_many(5)  # type: ignore[arg-type]


def test_what_has_no_memory_to_read_is_an_image_error(scorer: Scorer) -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            raise ValueError("no such device")

        def __dlpack__(self) -> object:
            raise ValueError("no such device")

    good, bad = scorer.score_many([picture(), Elsewhere()], return_errors=True)
    assert isinstance(good, Score)
    assert isinstance(bad, ImageError)
    assert "no such device" in bad.reason


def test_embed_many_gives_what_embed_gives(scorer: Scorer) -> None:
    images = [picture(i) for i in range(10)]
    for image, embedding in zip(images, scorer.embed_many(images), strict=True):
        alone = scorer.embed(image)
        for space in ("perceptual", "semantic"):
            assert np.abs(getattr(embedding, space) - getattr(alone, space)).max() <= SAME
    assert repr(alone) == "Embedding(perceptual: float32 (768,), semantic: float32 (768,))"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "`workers` must be at least 1, not 0"),
        ({"threads": -1}, "`threads` must be at least 1, not -1"),
        ({"decoder": "tpu"}, "`decoder` cannot be 'tpu'; choose cpu or gpu"),
        ({"decoder": "gpu", "decode_scale": "auto"}, "leave `decode_scale` out"),
        ({"decoder": "gpu"}, '`decoder="gpu"` needs `device="tensorrt"` or `device="cuda"`'),
        ({"lanes": 2}, "leave `lanes` out"),
    ],
)
def test_wrong_arguments_are_named_as_in_python(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        Scorer(**{"device": "cpu", **options})  # type: ignore[arg-type]
    assert "--" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_it_says_what_it_is(scorer: Scorer, bundle: Bundle) -> None:
    assert repr(scorer) == "Scorer(declip-tiny, cpu, fp32, batch 8)"
    assert repr(bundle).startswith("Bundle(declip-tiny, fp32, fp16, ")
    assert (scorer.engine.kind, scorer.engine.index, scorer.engine.fallback) == ("cpu", None, None)


def test_an_array_of_another_library_is_taken_as_it_is(scorer: Scorer) -> None:
    torch = pytest.importorskip("torch")
    rgb = picture(3)
    assert scorer.score(torch.from_numpy(rgb)) == scorer.score(rgb)
    with pytest.raises(ImageError, match=r"must be RGB uint8 \(H, W, 3\)"):
        scorer.score(torch.zeros(3, 9, 9))
    with pytest.raises(ImageError, match="cannot read a Tensor"):
        scorer.score(torch.zeros(9, 9, 3, dtype=torch.bfloat16))

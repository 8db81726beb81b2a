"""Prompts at run time: token ids, values of the image alone, and errors that say what to do."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto

from declip_rt import Bundle, BundleError, ConfigError, Prompts, Scorer, Unavailable
from declip_rt.model.manifest import Graph
from declip_rt.prompts import Space, Tokenizer, axes, parse
from tests.conftest import Run, encoded, picture

CONTEXT = 32
CALM = Prompts("calm", ("a calm scene", "a quiet photo"), ("a busy scene",))
CAT = Prompts("cat", ("a photo of a cat",), ("a photo of a dog",), "semantic")


@pytest.fixture(scope="module")
def tokenizer(prompted: Path) -> Tokenizer:
    return Tokenizer(prompted / "tokenizer.json", CONTEXT)


@pytest.fixture(scope="module")
def own(prompted: Path) -> Scorer:
    return Scorer(prompted, "cpu", prompts=[CALM, CAT])


@pytest.fixture
def copy(prompted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prompted, tmp_path / "copy"))


def test_ids_are_berts_and_padded(tokenizer: Tokenizer) -> None:
    """The ids that open_clip gives; tests/export/test_prompts.py compares any text with it."""
    ours = tokenizer(["a sharp photo", "", "it's unsharp"])
    assert ours.dtype == np.int64
    middles = ([1037, 4629, 6302], [], [2009, 1005, 1055, 4895, 7377, 14536])
    expected = [[101, *ids, 102] for ids in middles]
    assert ours.tolist() == [[*ids, *[0] * (CONTEXT - len(ids))] for ids in expected]


def test_a_long_text_is_an_error_and_not_cut(tokenizer: Tokenizer) -> None:
    tokenizer(["word " * (CONTEXT - 2)])
    with pytest.raises(ConfigError, match=r"'word word .* has 31 tokens, the model reads 30; shorten it"):
        tokenizer(["word " * (CONTEXT - 1)])


def test_the_names_of_control_tokens_are_text(tokenizer: Tokenizer) -> None:
    start, *middle, end = tokenizer.ids("a <end_of_text> <start_of_text> b")
    assert not {start, end} & set(middle)


def test_the_sides_are_antonyms(prompted: Path) -> None:
    swapped = Prompts("swapped", CALM.low, CALM.high)
    with Scorer(prompted, "cpu", prompts=[CALM, swapped]) as scorer:
        value = scorer.score(picture()).prompts
    assert value["calm"] + value["swapped"] == pytest.approx(1, abs=1e-6)


def test_values_depend_on_the_image_alone(own: Scorer) -> None:
    images = [picture(seed, 200 + 9 * seed) for seed in range(11)]
    together = [list(score.prompts.values()) for score in own.score_many(images)]
    alone = [list(own.score(image).prompts.values()) for image in images]
    assert np.abs(np.array(together) - np.array(alone)).max() < 1e-4
    assert np.ptp(np.array(alone), axis=0).min() > 1e-4


def test_arguments() -> None:
    arguments = ["sharp photo:blurry photo", " calm = a calm scene : a busy scene", "calm=quiet:loud", "a:b=c"]
    assert parse(arguments, "semantic") == (
        Prompts("sharp photo", ("sharp photo",), ("blurry photo",), "semantic"),
        Prompts("calm", ("a calm scene", "quiet"), ("a busy scene", "loud"), "semantic"),
        Prompts("a", ("a",), ("b=c",), "semantic"),
    )


def test_a_backslash_takes_a_separator_as_it_is() -> None:
    (prompts,) = parse([r"x\=1=a clock at 12\:30:a\b\\"], "perceptual")
    assert (prompts.name, prompts.high, prompts.low) == ("x=1", ("a clock at 12:30",), ("a\\b\\",))
    with pytest.raises(ConfigError, match="the form is"):
        parse([r"a\:b"], "perceptual")


@pytest.mark.parametrize("argument", ["", "sharp", "sharp:", ":blurry", "name= :low", "a:b:c", "name="])
def test_malformed_arguments_show_the_form(argument: str) -> None:
    with pytest.raises(ConfigError, match=r"\[NAME=\]HIGH:LOW"):
        parse([argument], "perceptual")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", ("a",), ("b",)), "printable name"),
        (("new\nline", ("a",), ("b",)), "printable name"),
        (("x", "a calm scene", ("b",)), "tuple of texts"),
        (("x", (), ("b",)), "tuple of texts"),
        (("x", ("a",), (" ",)), "tuple of texts"),
        (("x", ("a",), ("b",), "visual"), "perceptual or semantic"),
    ],
)
def test_wrong_prompts(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Prompts(*arguments)  # type: ignore[arg-type]


def test_two_of_one_name(prompted: Path) -> None:
    with pytest.raises(ConfigError, match="two prompts are called 'calm'"):
        Scorer(prompted, "cpu", prompts=[CALM, CALM])


def test_a_bundle_without_text_says_how_to_get_it(copy: Path) -> None:
    file = copy / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"text": None}))
    with pytest.raises(BundleError, match=r"no text tower.*python -m export"):
        Scorer(Bundle(copy).path, "cpu", prompts=[CALM])


@dataclass(frozen=True)
class Toy:
    """A bundle whose text tower makes features at random, and takes one of two texts for familiar."""

    folder: Path
    strange: str
    familiar: str

    def prompts(self, space: Space = "perceptual") -> Prompts:
        return Prompts("mine", (self.familiar,), (self.strange,), space)


@pytest.fixture
def toy(copy: Path) -> Toy:
    manifest = Bundle(copy).manifest
    assert manifest.text is not None
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        make("Cast", ["tokens"], ["floats"], to=TensorProto.FLOAT),
        make("MatMul", ["floats", "weights"], ["layer"]),
        make("LpNormalization", ["layer"], ["text"], axis=1, p=2),
        make("Gather", ["floats", "second"], ["familiarity"], axis=1),  # the number of the first word
    ]
    weights = np.random.default_rng(0).normal(0, 1, (manifest.text.context, manifest.features)).astype(np.float32)
    constants = {"weights": weights, "second": np.array(1)}
    graph = onnx.helper.make_graph(
        nodes,
        "toy",
        [value("tokens", TensorProto.INT64, ["M", manifest.text.context])],
        [
            value("text", TensorProto.FLOAT, ["M", manifest.features]),
            value("familiarity", TensorProto.FLOAT, ["M"]),
        ],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    file = copy / manifest.text.graph.file
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), file)
    ids = Tokenizer(copy / manifest.text.tokenizer.file, manifest.text.context).ids
    strange, familiar = sorted(["elephant", "sharp"], key=lambda text: ids(text)[1])
    text = replace(manifest.text, graph=Graph.of(file), familiar=float(ids(familiar)[1]))
    replace(manifest, text=text).write(copy)
    return Toy(copy, strange, familiar)


def test_a_prompt_far_from_the_training_gives_one_warning(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    Scorer(toy.folder, "cpu", prompts=[toy.prompts()]).close()
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    message = record.getMessage()
    assert f"prompts 'mine': the perceptual space was trained on nothing like {toy.strange!r}, so" in message
    assert "semantic prompts" in message
    assert record.name.startswith("declip_rt")


def test_semantic_prompts_and_older_bundles_give_no_warning(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    Scorer(toy.folder, "cpu", prompts=[toy.prompts("semantic")]).close()
    manifest = Bundle(toy.folder).manifest
    assert manifest.text is not None
    replace(manifest, text=replace(manifest.text, familiar=None)).write(toy.folder)
    Scorer(toy.folder, "cpu", prompts=[toy.prompts()]).close()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_command_line_says_it_in_a_line(toy: Toy, declip: Run, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(picture()))
    done = declip("score", tmp_path / "photo.jpg", "--model", toy.folder, "--prompts", f"{toy.strange}:{toy.familiar}")
    said = [line for line in done.stderr.decode().splitlines() if "trained on nothing like" in line]
    assert done.returncode == 0
    assert len(said) == 1
    assert said[0].startswith(f"prompts {toy.strange!r}: ")


@pytest.mark.parametrize("library", ["tokenizers", "ftfy"])
def test_a_missing_library_names_the_extra(prompted: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unavailable, match=rf'{library} cannot be imported .*; pip install "declip-rt\[prompts\]"'):
        Scorer(prompted, "cpu", prompts=[CALM])
    Scorer(prompted, "cpu").close()


@pytest.mark.parametrize("name", ["technical", "width", "percentile", "damaged", "preview"])
def test_a_name_that_a_score_has_is_refused(prompted: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be called '{name}'"):
        axes(Bundle(prompted), [Prompts(name, ("a",), ("b",))])

"""A bundle opens when it is whole, and otherwise says what is wrong and what to do."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from declip_rt import Bundle, BundleError
from declip_rt.model.bundle import embedded


@pytest.fixture
def copy(tmp_path: Path, bundle: Bundle) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "copy"))


def edit(folder: Path, **changes: object) -> None:
    file = folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_embedded_model_is_whole_small_and_found_by_name(bundle: Bundle) -> None:
    assert embedded() == ["declip-tiny"]
    assert Bundle("declip-tiny").hash == bundle.hash
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) < 60e6


def test_its_heads(bundle: Bundle) -> None:
    kinds = {head.name: head.kind for head in bundle.heads}
    assert kinds["technical"] == kinds["aesthetic"] == "quality"
    assert {"brightness", "colorfulness", "contrast", "sharpness", "noisiness"} <= kinds.keys()


def test_its_card_says_what_was_measured_when_and_where(bundle: Bundle) -> None:
    card = bundle.manifest.card
    assert card.figures
    assert card.command
    assert card.date
    assert card.machine


def test_percentiles_run_from_0_to_100(bundle: Bundle) -> None:
    assert bundle.percentile("technical", -1) == 0
    assert bundle.percentile("technical", 2) == 100
    marks = [bundle.percentile("technical", x / 20) for x in range(21)]
    assert marks == sorted(marks)  # type: ignore[type-var]


def test_a_folder_opens_as_the_same_bundle(copy: Path, bundle: Bundle) -> None:
    assert Bundle(copy).hash == bundle.hash


def test_an_altered_graph_is_refused(copy: Path) -> None:
    with (copy / "fp32.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(BundleError, match=r"fp32.onnx was altered.*again"):
        Bundle(copy)


@pytest.mark.parametrize("name", ["text.onnx", "tokenizer.json"])
def test_an_altered_text_tower_is_refused(prompted: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(prompted, tmp_path / "prompted"))
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleError, match=rf"{name} was altered"):
        Bundle(folder)


def test_a_missing_graph_is_refused(copy: Path) -> None:
    (copy / "fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"cannot read .*fp32.onnx"):
        Bundle(copy)


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="embedded models: declip-tiny"):
        Bundle("declip-huge")
    with pytest.raises(BundleError, match=r"without bundle\.json"):
        Bundle(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99, this version reads 1"),
        ({"surprise": 1}, "surprise"),
        ({"heads": []}, "lacks the head aesthetic and technical"),
        ({"views": {"size": 224, "placements": []}}, "placements"),
        ({"graphs": {"fp32": {"file": "../x.onnx", "sha256": "0" * 64}}}, "outside its folder"),
        ({"graphs": {}}, "names no graph"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(copy: Path, changes: dict[str, object], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle(copy)


RISING = {"dataset": "mine", "scores": [0.1, 0.5, 0.9], "values": [20, 50, 60]}
ESTIMATE = {"value": 0.7, "low": 0.6, "high": 0.8}
AGREEMENT = {"n": 30} | dict.fromkeys(("srcc", "plcc", "krcc", "rmse"), ESTIMATE)


def map_to_mos(folder: Path, head: str, **changes: object) -> None:
    edit(folder, calibration={"mos": {head: RISING | {"agreement": AGREEMENT} | changes}})


def test_a_map_to_mos_is_straight_between_its_knots_and_flat_beyond(copy: Path, bundle: Bundle) -> None:
    map_to_mos(copy, "technical")
    opened = Bundle(copy)
    assert [opened.mos["technical"](score) for score in (0, 0.1, 0.3, 0.9, 1)] == pytest.approx([20, 20, 35, 60, 60])
    assert opened.percentile("technical", 0.5) is None
    assert bundle.mos == {}


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        ("beauty", {}, "a map to MOS for 'beauty', which is no head of it"),
        ("technical", {"values": [20, 50]}, "3 scores for 2 values"),
        ("technical", {"values": [20, 50, 40]}, "not monotone"),
        ("technical", {"scores": [0.1, 0.1, 0.9]}, "not monotone"),
    ],
)
def test_a_wrong_map_to_mos_is_refused(copy: Path, head: str, changes: dict[str, object], message: str) -> None:
    map_to_mos(copy, head, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle(copy)


def rewrite(copy: Path, **changes: object) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("name", "tiny\u001b]0;owned\u0007", "control characters"),
        ("name", "a\u0000b", "control characters"),
        ("licence", "MIT\u202e", "control characters"),
        ("features", 10**7, "more than 65,536"),
        ("views", {"size": 30000, "placements": [{"short_side": 224}]}, "views.size of 30,000"),
        ("views", {"size": 224, "placements": [{"short_side": 224}] * 100}, "views of 100"),
    ],
)
def test_what_would_hang_or_drive_a_terminal_is_refused(copy: Path, part: str, change: object, message: str) -> None:
    rewrite(copy, **{part: change})
    with pytest.raises(BundleError, match=message):
        Bundle(copy)


@pytest.mark.parametrize("name", ["path", "error", "model", 'x" onmouseover="alert(1)', "A", "", "sharp ness", "é"])
def test_heads_are_words_and_no_columns(copy: Path, name: str) -> None:
    heads = json.loads((copy / "bundle.json").read_text())["heads"]
    heads[-1]["name"] = name
    rewrite(copy, heads=heads, calibration=None)
    with pytest.raises(BundleError, match="calls a head"):
        Bundle(copy)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"schema": 1, "name": "\xff"}', b"\x00" * 100, b" " * (17 * 2**20)]
)
def test_hostile_json_is_refused(copy: Path, content: bytes) -> None:
    (copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError):
        Bundle(copy)


@pytest.mark.parametrize("name", ["fp32.onnx", "tokenizer.json"])
def test_files_that_never_end_are_not_read(copy: Path, name: str) -> None:
    (copy / name).unlink()
    os.mkfifo(copy / name)
    with pytest.raises(BundleError, match="is not a regular file"):
        Bundle(copy)
    (copy / name).unlink()
    (copy / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="is not a regular file"):
        Bundle(copy)


def test_no_json_at_all(copy: Path) -> None:
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle(copy)


def test_a_precision_that_is_not_there(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no int8 graph; it has: fp32"):
        bundle.graph("int8")


def test_without_a_reference_there_is_no_percentile(copy: Path) -> None:
    edit(copy, calibration=None)
    assert Bundle(copy).percentile("technical", 0.5) is None


def test_the_embedded_graphs_tell_nothing_of_the_machine_that_exported_them(bundle: Bundle) -> None:
    for part in bundle.manifest.files:
        assert b'File "/' not in (bundle.path / part.file).read_bytes(), part.file

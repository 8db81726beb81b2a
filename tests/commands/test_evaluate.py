"""`declip-rt eval` says how well the scores agree, and which photos are not in its figures."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import pytest

from declip_rt import Scorer
from declip_rt.commands.main import main
from declip_rt.output import target
from declip_rt.ratings.agreement import measure
from declip_rt.ratings.dataset import read


@pytest.fixture
def dataset(rated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rated, tmp_path / "dataset"))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def rate(dataset: Path, *lines: str) -> None:
    (dataset / "scores.csv").write_text("\n".join(lines))


def test_the_table_has_the_figures_and_the_files_the_photos(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], scorer: Scorer
) -> None:
    out, drawn = tmp_path / "out.csv", tmp_path / "scatter.png"
    assert main(["eval", str(dataset), "--device", "cpu", "--out", str(out), "--plot", str(drawn)]) == 0
    mos = [float(row["mos"]) for row in rows(dataset / "scores.csv")]
    scores = [scorer.score(dataset / "images" / f"{i}.png").technical for i in range(12)]
    found = measure(scores, mos)
    title, heading, *lines = capsys.readouterr().out.splitlines()
    assert title == "technical of declip-tiny against mos of dataset"
    assert heading.split() == ["metric", "value", "95", "%", "interval", "photos"]
    for line, (name, estimate) in zip(lines, found.figures().items(), strict=True):
        assert line.split() == [
            name,
            f"{estimate.value:.3f}",
            f"{estimate.low:.3f}",
            "to",
            f"{estimate.high:.3f}",
            "12",
        ]
    assert found.srcc.value > 0.9
    assert [float(row["score"]) for row in rows(out)] == pytest.approx(scores, abs=1e-5)
    assert [float(row["mos"]) for row in rows(out)] == mos
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("named", ["../images/", "images/", ""])
def test_images_are_named_from_the_csv_the_dataset_or_its_images(dataset: Path, named: str) -> None:
    text = (dataset / "scores.csv").read_text()
    (dataset / "lists").mkdir()
    file = dataset / "lists" / "scores.csv"
    file.write_text("\ufeff" + text.replace("images/", named), encoding="utf-8")
    ratings = read(file, dataset, "image", "mos")
    assert [rating.path.resolve() for rating in ratings] == [dataset / "images" / f"{i}.png" for i in range(12)]
    assert all(10 < rating.mos < 90 for rating in ratings)


def test_other_columns_heads_and_directions(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = dataset / "other.csv"
    file.write_text((dataset / "scores.csv").read_text().replace("image,mos", "file name,DMOS"))
    command = ["eval", str(dataset), "--scores", str(file), "--image-column", "file name", "--score-column", "DMOS"]

    def srcc(*more: str) -> float:
        assert main([*command, *more]) == 0
        return float(capsys.readouterr().out.splitlines()[2].split()[1])

    assert srcc("--lower-is-better") < -0.9
    assert srcc("--head", "sharpness") > 0.5, "the photos are ever blurrier"


def test_photos_that_fail_are_named_counted_and_tell_in_the_exit_code(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "images" / "3.png").write_bytes(b"junk")
    (dataset / "images" / "7.png").unlink()
    out, drawn = tmp_path / "out.csv", tmp_path / "scatter.svg"
    assert main(["eval", str(dataset), "--quiet", "--out", str(out), "--plot", str(drawn)]) == 1
    said = capsys.readouterr()
    assert [line.split(":")[0].rsplit("/")[-1] for line in said.err.splitlines()] == ["3.png", "7.png"]
    assert "failed, and not in these figures: 2 of 12 photos" in said.out
    assert said.out.splitlines()[2].split()[-1] == "10"
    assert [bool(row["error"]) for row in rows(out)] == [i in (3, 7) for i in range(12)]
    assert "3.png" not in rows(out)[3]["error"], "the row names its photo already"
    assert rows(out)[3]["score"] == ""
    assert "<svg" in drawn.read_text()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("image,rating", "images/0.png,3"), "no column 'mos' but image, rating; choose with --score-column"),
        (("name,mos", "images/0.png,3"), "no column 'image' but name, mos; choose with --image-column"),
        (("image,mos", "images/0.png,3", "images/1.png,good"), "line 3: the score is 'good'"),
        (("image,mos", "images/0.png,nan"), "line 2: the score is 'nan'"),
        (("image,mos", "images/0.png"), "line 2: the score is None"),
        (("image,mos", ",3"), "line 2: no name in image"),
        (("image,mos", "images/0.png,3", "images/0.png,4"), "line 3: 'images/0.png' again; give each photo one row"),
        (("image,mos", "images/0.png,3", "images/1.png,4"), "at least 5 photos, not 2"),
    ],
)
def test_wrong_ratings_say_what_is_wrong(
    dataset: Path, lines: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rate(dataset, *lines)
    assert main(["eval", str(dataset), "--quiet"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--head", "beauty"), "--head beauty: declip-tiny has only technical, aesthetic, brightness"),
        (("--plot", "scatter.gif"), "must be .png or .svg"),
        (("--plot", "nowhere/scatter.png"), "its folder does not exist"),
        (("--out", "scores.txt"), "must be .csv, .jsonl or .parquet"),
        (("--scores", "nowhere.csv"), "cannot read nowhere.csv"),
        (("--batch", "0"), "--batch must be at least 1, not 0"),
    ],
)
def test_wrong_options_say_what_is_wrong(
    dataset: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(dataset), *options]) == 2
    assert message in capsys.readouterr().err


def test_one_process_writes_the_rows(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    with target.locked(out):
        assert main(["eval", str(dataset), "--quiet", "--out", str(out)]) == 2
    assert "is being written by process" in capsys.readouterr().err
    assert not out.exists()


def test_the_ratings_are_never_overwritten(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (dataset / "scores.csv").read_bytes()
    assert main(["eval", str(dataset), "--out", str(dataset / "images" / ".." / "scores.csv")]) == 2
    assert "--scores and --out name one file" in capsys.readouterr().err
    assert (dataset / "scores.csv").read_bytes() == before


def test_one_scores_csv_is_needed(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(dataset / "scores.csv", dataset / "images")
    assert main(["eval", str(dataset)]) == 2
    assert "several scores.csv" in capsys.readouterr().err
    assert main(["eval", str(dataset / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err
    for file in dataset.rglob("*.csv"):
        file.unlink()
    assert main(["eval", str(dataset)]) == 2
    assert "no scores.csv; name the file with the ratings with --scores" in capsys.readouterr().err


@pytest.mark.parametrize(("module", "options"), [("scipy.stats", ()), ("matplotlib.figure", ("--plot", "s.png"))])
def test_what_is_not_installed_is_said_before_the_scoring(
    dataset: Path,
    module: str,
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["eval", str(dataset), *options]) == 2
    said = capsys.readouterr().err
    assert 'pip install "declip-rt[eval]"' in said
    assert "model declip-tiny" not in said

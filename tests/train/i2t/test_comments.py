"""Of critiques the sentences on how a photo looks are kept, word for word; the report says what became of the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from declip_rt.errors import ConfigError
from tests.conftest import encoded, picture
from train.i2t.comments import LEXICON, Lexicon, clean, main, pairs, sentences
from train.i2t.manifest import faults, read

COMMENTS = [
    ("1001", "Greetings from the Critique Club! The focus is tack sharp, but the horizon tilts to the left.<br />-Ann"),
    ("1001", "Too cute!! lol. Reminds me of my own dog :-) Good luck in the challenge."),
    ("1001", "THE FOCUS IS TACK SHARP, but the horizon tilts to the left. Nice."),
    ("sub/1002", "Lovely soft light &amp; muted tones... the background is a bit busy, i.e. it distracts."),
    ("1003", "Congrats on the ribbon!"),
    ("9999", "Beautiful bokeh and color."),
]
KEPT = {
    "1001.jpg": ("The focus is tack sharp, but the horizon tilts to the left.",),
    "sub/1002.png": ("Lovely soft light & muted tones... the background is a bit busy, i.e. it distracts.",),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """comments.csv, and images whose names the table gives without suffix, as AVA's do."""
    for seed, name in enumerate(("1001.jpg", "sub/1002.png", "1003.jpg")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(seed), "PNG"))
    write(tmp_path / "comments.csv", ["image", "comment"], COMMENTS)
    return tmp_path


def write(path: Path, columns: list[str], rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: object, table: str = "comments.csv") -> int:
    command = ["comments", folder / table, "--images", folder / "images", "--out", folder / "i2t.jsonl", *options]
    monkeypatch.setattr("sys.argv", [str(word) for word in command])
    return main()


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("<b>Great</b> light!<br/>Soft   focus &quot;glow&quot;.", 'Great light! Soft focus "glow".'),
        ("[quote=bob]Too dark.[/quote][b]I[/b] disagree :) <3 \U0001f600", "I disagree"),
        ("As on www.site.com/a?b=1, sharpen (http://x.org/y).", "As on , sharpen ()."),
        ("Nicely lit. -John", "Nicely lit."),
        ("Nicely lit.\n\nCheers,\nJohn B.", "Nicely lit."),
        ("Nicely lit.\nMessage edited by author 2005-03-12 10:22:33.", "Nicely lit."),
        ("Itâ€™s sharp at f/8 (1/250) :-D", "It's sharp at f/8 (1/250)"),
        ("4:3 crop - Soft light; <5% noise, best (wishes)", "4:3 crop - Soft light; <5% noise, best (wishes)"),
    ],
)  # fmt: skip
def test_cleaning(comment: str, expected: str) -> None:
    assert " ".join(clean(comment).split()) == expected


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("Wow!!! love it. but it's too dark", ["Wow!!!", "love it.", "but it's too dark"]),
        ("The sky, e.g. on top, is flat vs. the sea.", ["The sky, e.g. on top, is flat vs. the sea."]),
        ("Shot at f/2.8, 1.5 sec. at dusk. Good.", ["Shot at f/2.8, 1.5 sec. at dusk.", "Good."]),
        ("Colors, tones, etc. The crop is tight", ["Colors, tones, etc.", "The crop is tight"]),
        ("The sky... it glows... Nice.", ["The sky... it glows...", "Nice."]),
        ('He said "too soft." I agree (mostly).', ['He said "too soft."', "I agree (mostly)."]),
        ("Great focus.The sky is blown out", ["Great focus.", "The sky is blown out"]),
        ("- sharp<br>* well lit\n2) 3:2 crop\n3: 2 lights\n4. 10/10", ["sharp", "well lit", "3:2 crop", "2 lights"]),
        ("", []),
    ],
)  # fmt: skip
def test_splitting(comment: str, expected: list[str]) -> None:
    assert sentences(comment) == expected


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("I'd have cropped a little tighter on the left.", ""),
        ("The highlights on her dress are blown out and there's noise in the shadows.", ""),
        ("Shallow DOF and creamy bokeh make the bird stand out.", ""),
        ("Feels a bit overexposed and washed-out to me", ""),
        ("What a striking, moody black & white.", ""),
        ("It's hard to judge on the lo-res version, but the eyes look acceptably crisp.", ""),
        ("The hot spot on the left and the overcast light leave the whites grey.", ""),
        ("A strong vertical leads the eye to the vanishing point.", ""),
        ("The brushstrokes are rough, and the space lacks layers.", ""),
        ("The picture is very delicate, and calligraphy is the finishing touch.", ""),
        ("You nailed it!", "no perceptual word"),
        ("I can see why you chose to photograph this old man and his dog.", "no perceptual word"),
        ("Congrats on your ribbon, the lighting is great!", "score too low"),
        ("We took the kids there last summer, and luckily the light held until we were at the car.", "score too low"),
        ("What an adorable puppy your daughter has!", "no perceptual word"),
        ("Good luck in the challenge.", "no perceptual word"),
        ("I gave it an 8.", "no perceptual word"),
        ("Too dark.", "too short"),
        ("The light " + "and the color " * 13, "too long"),
    ],
)  # fmt: skip
def test_the_lexicon_tells_looks_from_talk(sentence: str, reason: str) -> None:
    assert Lexicon.read(LEXICON).judge(sentence)[1] == reason


def test_a_lexicon_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    text = 'threshold = 1\nshortest = 1\nlongest = 9\n[groups.a]\nweight = 3\nentries = ["ripe", "over-ripe*"]\n'
    path.write_text(text + '[groups.b]\nweight = -1\nentries = ["pear", "ripe tomato*"]')
    lexicon = Lexicon.read(path)
    assert [lexicon.judge(word) for word in ("Overripeness", "over-ripe", "RIPE")] == [(3.0, "")] * 3
    assert lexicon.judge("so over ripe pear") == (1.0, "")
    assert lexicon.judge("a very ripe pear") == (1.0, "")
    assert lexicon.judge("a few ripe tomatoes") == (-0.5, "no perceptual word")  # the longest entry counts
    assert lexicon.judge("ripen pear")[1] == "no perceptual word"
    path.write_text(text + '[groups.b]\nweight = -1\nentries = ["ripe"]')
    with pytest.raises(ConfigError, match="twice: ripe"):
        Lexicon.read(path)
    path.write_text(text.replace("weight", "wait"))
    with pytest.raises(ConfigError, match=r"own\.toml.*wait"):
        Lexicon.read(path)


def test_a_table_becomes_a_manifest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = [
        ("1001", "sail_boat"),
        ("1001", "A boat on a lake."),
        ("1001.jpg", "sail boat"),
        ("sub/1002.png", ""),
        ("7", "x"),
    ]
    write(folder / "captions.csv", ["image", "label"], captions)
    assert run(monkeypatch, folder, "--captions", folder / "captions.csv") == 0
    rows = read(folder / "i2t.jsonl")
    assert {row.image: row.perceptual for row in rows} == {f"images/{name}": kept for name, kept in KEPT.items()}
    assert [row.semantic for row in rows] == [("a photo of sail boat", "a photo of a boat on a lake"), ()]
    assert {row.provenance for row in rows} == {"comments of comments.csv"}
    assert list(faults(folder / "i2t.jsonl", "ViT-B-32")) == []


def test_jsonl_with_columns_of_other_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": 1001, "texts": [COMMENTS[0][1], COMMENTS[1][1]]}, {"id": "sub/1002.png", "texts": COMMENTS[3][1]}]
    (folder / "c.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert run(monkeypatch, folder, "--image-column", "id", "--comment-column", "texts", table="c.jsonl") == 0
    assert {row.image: row.perceptual for row in read(folder / "i2t.jsonl")} == {
        f"images/{name}": kept for name, kept in KEPT.items()
    }


def test_critiques_in_several_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["image", "focus", "color_lighting", "subject_of_photo"]
    row = ("1003", "The focus is tack sharp.", "Soft, diffused light.", "The focus of this story is a dog.")
    write(folder / "pccd.csv", columns, [row])
    assert run(monkeypatch, folder, "--comment-column", "focus", "color_lighting", table="pccd.csv") == 0
    assert [row.perceptual for row in read(folder / "i2t.jsonl")] == [row[1:3]]


def test_the_report_accounts_for_every_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, folder, "--report", folder / "report.csv") == 0
    with (folder / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fates = {row["sentence"]: (row["kept"], row["reason"]) for row in rows}
    assert [row["sentence"] for row in rows] == [part for _, comment in COMMENTS for part in sentences(comment)]
    assert fates[KEPT["1001.jpg"][0]] == ("1", "")
    assert fates["THE FOCUS IS TACK SHARP, but the horizon tilts to the left."] == ("0", "repeated")
    assert fates["Beautiful bokeh and color."] == ("0", "no such image")
    assert fates["Nice."] == ("0", "too short")
    printed = capsys.readouterr().out
    assert f"{len(rows)} sentences, 2 kept" in printed
    assert sum(int(line.split()[0]) for line in printed.splitlines() if "dropped: " in line) == len(rows) - 2
    assert printed.endswith(f"2 images in {folder / 'i2t.jsonl'}\n")


def test_the_summary_shows_sentences_near_the_threshold(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    comments = [
        ("1001", "Nice light, good luck in the voting."),
        ("1001", "The color of the sky is what I like most in it."),
    ]
    write(folder / "comments.csv", ["image", "comment"], [*comments, ("1001", "Sharp focus and bright color.")])
    assert run(monkeypatch, folder) == 0
    lines = capsys.readouterr().out.splitlines()
    dropped, kept = lines.index("dropped, the highest scores:"), lines.index("kept, the lowest scores:")
    assert lines[dropped + 1 : kept] == ["   -0.76 Nice light, good luck in the voting."]
    assert [line[9:] for line in lines[kept + 1 : kept + 3]] == [comments[1][1], "Sharp focus and bright color."]


def test_errors_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, folder, "--comment-column", "text") == 2
    assert "row 1: no column text; it has image, comment" in capsys.readouterr().err
    assert run(monkeypatch, folder, table="none.csv") == 2
    assert run(monkeypatch, folder, "--images", folder / "none") == 2
    write(folder / "comments.csv", ["image", "comment"], COMMENTS[4:])
    assert run(monkeypatch, folder, "--report", folder / "report.csv") == 2
    assert "no sentence" in capsys.readouterr().err
    assert (folder / "report.csv").exists()
    assert not (folder / "i2t.jsonl").exists()
    (folder / "c.jsonl").write_text('{"image": "1001", "comment": "fine"}\n{"image"')
    with pytest.raises(ConfigError, match=r"cannot read .*c\.jsonl"):
        list(pairs(folder / "c.jsonl", "image", "comment"))

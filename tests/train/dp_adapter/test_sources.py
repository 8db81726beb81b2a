"""Photos of a data folder, and their credits."""

from pathlib import Path

from train.dp_adapter.sources import Source


def test_photos_are_of_the_test_split_with_their_credits(tmp_path: Path):
    (tmp_path / "pristine").mkdir()
    lines = [
        "image,source,label,credit",
        *(f"images/{i}.png,x,{'a dog' if i % 2 else ''},Jos\\303\\251 &amp; {i}" for i in range(20)),
    ]
    (tmp_path / "pristine" / "captions.csv").write_text("\n".join(lines))
    source = Source.of_data(tmp_path)
    assert len(source.rows) == 4  # a fifth
    for row in source.rows:
        number = int(Path(row.image).stem)
        assert source.credits[row.image] == f"José & {number}"
        assert row.semantic == (("a dog",) if number % 2 else ())

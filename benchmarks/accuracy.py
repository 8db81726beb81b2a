"""Everything that is claimed of a model, in one command: `python -m benchmarks.accuracy RUN --data DATA`.

RUN is the folder of `python -m train.run`. Writes tables (accuracy.md, and a CSV of each) and plots into --out. Only
the test splits are measured; probes learn from the training splits.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from msgspec.structs import replace

from declip_rt.bench.machine import Machine
from declip_rt.errors import DeclipError
from train import compare, declip, plots
from train.compare import Subject
from train.features import Encoder, features
from train.i2t.manifest import Images
from train.loop import keep_log
from train.model import build, load
from train.readers import Dataset, read
from train.run import texts_and_scores
from train.tables import Table

ABLATIONS: dict[str, dict[str, float]] = {  # what is left out of stage 2
    "nothing": {},
    "cross-space term": {"cross_weight": 0.0},
    "quality and beauty levels": {"level_weight": 0.0},
    "perceptual alignment": {"perceptual_weight": 0.0},
    "semantic alignment": {"semantic_weight": 0.0},
}


def measure(subject: Subject, run: Path, sets: list[Dataset]) -> list[Table]:
    config = subject.config
    training = features(subject.encode, config.features, subject.data, config.seed, config.heads.sets)
    return [
        compare.quality(subject, "mos", "technical", training),
        compare.quality(subject, "beauty", "aesthetic", training),
        compare.attributes(subject),
        compare.disentanglement(subject),
        ablation(subject, run),
        *([compare.matrix(subject, sets)] if sets else []),
    ]


def ablation(subject: Subject, run: Path) -> Table:
    """Stage 2 again, without each of its terms."""
    rows, lines = texts_and_scores(subject.config, subject.data), []
    for what, settings in ABLATIONS.items():
        config = replace(subject.config, declip=replace(subject.config.declip, **settings))
        if settings and config == subject.config:
            continue  # a term that the model does without
        out = run / "ablations" / what.replace(" ", "-")
        out.mkdir(parents=True, exist_ok=True)
        if not (out / "features").exists():
            (out / "features").symlink_to((run / "features").resolve())
        model = build(config, subject.model.clip)
        declip.train(model, config, rows, Images(subject.data), out)
        lines.append((what, *compare.summary(Subject(config, model.eval(), subject.encode, subject.data))))
    note = "Stage 2 trained again without one of its terms; linear probes and nearest neighbours as above."
    return Table("ablation", note, ("left out", *compare.SUMMARY), tuple(lines))


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="READER=FOLDER",
        help="a published dataset (train/README.md) for the cross-database table; repeatable",
    )
    options = parser.parse_args()
    keep_log(options.run)
    try:
        config, model, _ = load(options.run / "declip.pt")
        encode = Encoder(model, Images(options.data), config.views, options.run / "features", workers=1)
        subject = Subject(config, model, encode, options.data)
        sets = [read(name, Path(folder)) for name, _, folder in (some.partition("=") for some in options.sets)]
        tables = measure(subject, options.run, sets)
        pictures = options.out / "accuracy"
        pictures.mkdir(parents=True, exist_ok=True)
        plots.scatter(subject, pictures / "technical.png")
        plots.curves(subject, pictures / "distortions.png")
        plots.spaces(subject, pictures / "spaces.png")
    except DeclipError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 2
    head = f"# Accuracy of {config.name}\n\n`python -m benchmarks.accuracy RUN --data DATA`, "
    head += f"{datetime.date.today()}, {Machine.here()}.\n"
    images = "\n".join(f"![{name}](accuracy/{name}.png)" for name in ("technical", "distortions", "spaces"))
    text = "\n".join([head, *(table.markdown() for table in tables), images]) + "\n"
    (options.out / "accuracy.md").write_text(text)
    for table in tables:
        (pictures / f"{table.title.replace(' ', '-')}.csv").write_text(table.csv())
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

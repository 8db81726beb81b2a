"""Everything that is claimed of a model, in one command: `python -m benchmarks.accuracy RUN --bundle DIR --data DATA`.

RUN is the folder of `python -m train.run`, and --bundle names what `python -m export` made of it. Writes tables
(accuracy.md, and a CSV of each) and plots into --out, and says which of the paper's claims hold. Only the test splits
are measured; probes learn from the training splits.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from msgspec.structs import replace

from declip_rt.bench.machine import Machine
from declip_rt.errors import ConfigError, DeclipError
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Estimate, File
from train import declip, evaluate, ladder, plots
from train.compare import attributes, databases, disentanglement, quality, words
from train.compare.subject import Subject
from train.evaluate import Measured
from train.features import Encoder
from train.i2t.manifest import Images
from train.judge import judge
from train.loop import keep_log
from train.model import build, load
from train.rated import Rated, rated
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


def measure(subject: Subject, run: Path, sets: list[Dataset], ablated: bool) -> list[Table]:
    """The tables of the model. ablated: whether stage 2 is trained again without its terms, which takes the longest."""
    config = subject.config
    training = rated(subject.encode, config.features, subject.data, config.seed, config.heads.sets)
    by_words = words.table(subject)
    return [
        quality.table(subject, "mos", "technical", training),
        quality.table(subject, "beauty", "aesthetic", training),
        attributes.table(subject),
        disentanglement.table(subject),
        *([by_words] if by_words else []),
        databases.table(subject, sets),
        *([ablation(subject, run, training)] if ablated else []),
    ]


def shipped(measured: Measured) -> Table:
    """What the bundle's card says, measured now."""
    rows = [
        (figure.what, Estimate(figure.value, figure.low, figure.high), figure.n)
        for figure in measured.figures
        if figure.low is not None and figure.high is not None
    ]
    note = "The bundle, through the runtime, on the test splits; 95 % bootstrap intervals."
    return Table("what ships", note, ("what", "value", "photos"), tuple(rows))


def check(bundle: Path, checkpoint: Path) -> None:
    """Raises ConfigError where the bundle is not that of the checkpoint."""
    if Bundle(bundle).manifest.checkpoint_sha256 != File.of(checkpoint).sha256:
        raise ConfigError(
            f"{bundle} was exported from another checkpoint than {checkpoint}; "
            f"export this one: python -m export {checkpoint} --out {bundle}"
        )


def what_holds(tables: list[Table]) -> str:
    """A sentence on each claim, which the intervals decide."""
    found = [finding for table in tables for finding in table.findings]
    held = sum(finding.holds for finding in found)
    note = (
        f"{held} of {len(found)} claims hold. They say that DeCLIP's perceptual feature tells more of quality and of "
        "looks, and its semantic feature more of content, than the other one or CLIP's coarse feature. A claim holds "
        "where the 95 % interval of the difference, on the same photos, is above 0."
    )
    return "\n".join(["## what holds", "", note, "", *(f"- {finding}" for finding in found)]) + "\n"


def ablation(subject: Subject, run: Path, training: Rated) -> Table:
    """Stage 2 again, without each of its terms."""
    rows = judge(texts_and_scores(subject.config, subject.data), training, subject.encode, subject.config)
    lines = []
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
        lines.append((what, *disentanglement.summary(Subject(config, model.eval(), subject.encode, subject.data))))
    note = "Stage 2 trained again without one of its terms; linear probes and nearest neighbours as above."
    return Table("ablation", note, ("left out", *disentanglement.SUMMARY), tuple(lines))


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--bundle", type=Path, required=True, help="what python -m export made of RUN")
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
    parser.add_argument("--no-ablation", action="store_true", help="leave that table out, which takes the longest")
    options = parser.parse_args()
    keep_log(options.run)
    pictures = options.out / "accuracy"
    try:
        check(options.bundle, options.run / "declip.pt")
        config, model, _ = load(options.run / "declip.pt")
        encode = Encoder(model, Images(options.data), config.views, options.run / "features", workers=1)
        subject = Subject(config, model, encode, options.data)
        sets = [read(name, Path(folder)) for name, _, folder in (some.partition("=") for some in options.sets)]
        pictures.mkdir(parents=True, exist_ok=True)
        measured = evaluate.measure(options.bundle, options.data)
        tables = [shipped(measured), *measure(subject, options.run, sets, not options.no_ablation)]
        plots.scatter(subject, pictures / "technical.png")
        plots.curves(subject, pictures / "distortions.png")
        plots.spaces(subject, pictures / "spaces.png")
        if measured.ladders:
            tables.insert(1, ladder.table(measured.ladders))
            plots.ladders(measured.ladders, pictures / "ladder.png")
    except DeclipError as error:
        print(f"accuracy: {error}", file=sys.stderr)
        return 2
    without = " --no-ablation" * options.no_ablation
    head = f"# Accuracy of {config.name}\n\n`python -m benchmarks.accuracy RUN --bundle BUNDLE --data DATA{without}`, "
    head += f"{datetime.date.today()}, {Machine.here()}.\n"
    shown = ("technical", "distortions", "spaces", *["ladder"] * bool(measured.ladders))
    images = "\n".join(f"![{name}](accuracy/{name}.png)" for name in shown)
    text = "\n".join([head, what_holds(tables), *(table.markdown() for table in tables), images]) + "\n"
    (options.out / "accuracy.md").write_text(text)
    for table in tables:
        (pictures / f"{table.title.replace(' ', '-')}.csv").write_text(table.csv())
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measures how far two references are obeyed: `python -m train.dp_adapter.evaluate CONFIG.toml --data DIR --out RUN`.

Trains what RUN lacks: a base, and each of pairs.SYSTEMS from several seeds. Draws pictures for pairs of references
under looks that nothing was trained on. Writes dp_adapter.md, .json and .png to `--results`. A run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import logging
import multiprocessing
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from declip_rt.bench.machine import Machine
from declip_rt.disk import write_whole
from declip_rt.errors import ConfigError, DeclipError
from declip_rt.model.manifest import Estimate
from train import intervals, probe
from train.distortions import RGB
from train.dp_adapter import drawing, report
from train.dp_adapter.__main__ import add_source, source_of
from train.dp_adapter.card import BRANCHES
from train.dp_adapter.config import Config, ToyConfig
from train.dp_adapter.drawing import draw_all, draw_words
from train.dp_adapter.encoder import Encoder
from train.dp_adapter.grid import labelled
from train.dp_adapter.looks import ATTRIBUTES, attributes, layout
from train.dp_adapter.measures import Drawn
from train.dp_adapter.pairs import SYSTEMS, Pairs, draw
from train.dp_adapter.run import Workshop
from train.dp_adapter.sources import Source
from train.loop import keep_log

log = logging.getLogger("train.dp_adapter")
DIAL = (0.0, 0.5, 1.0)
CELLS = 6  # rows and columns of the sheet
Arrays = dict[str, NDArray[Any]]


class Task(NamedTuple):
    """One training, and what is drawn by it."""

    system: str
    seed: int


class Plan(NamedTuple):
    """How much is measured. jobs: trainings at a time, each with one thread."""

    seeds: int = 3
    pairs: int = 192
    jobs: int = 2


def evaluate(config: Config, source: Source, out: Path, results: Path, plan: Plan, how: str) -> None:
    """Writes the page. how: what it says of the command. Raises DeclipError."""
    if not isinstance(config.base, ToyConfig):
        raise ConfigError("what is measured is a closed set of photos on a base of its own: make `base` a table")
    workshop = Workshop.open(config, source, out)
    tasks = [Task(system, seed) for seed in range(plan.seeds) for system in SYSTEMS]
    missing = [task for task in tasks if not _file(workshop, task, plan.pairs).is_file()]
    work = partial(_finish, config, source, out, plan.pairs)
    if plan.jobs == 1:
        list(map(work, missing))
    else:
        with multiprocessing.get_context("spawn").Pool(plan.jobs, maxtasksperchild=1) as pool:
            pool.map(work, missing, chunksize=1)
    kept = {task: dict(np.load(_file(workshop, task, plan.pairs))) for task in tasks}
    drawn = {system: [_read(workshop, kept[task]) for task in tasks if task.system == system] for system in SYSTEMS}
    drawn[report.IDEAL] = [
        _read(workshop, _ideal(workshop, kept[Task(report.OURS, seed)])) for seed in range(plan.seeds)
    ]
    rows = workshop.material.album.rows
    credits = [source.credits[row.image] for row in rows if row.image in source.credits]
    facts = _facts(config, plan, len(rows))
    found = report.figures(drawn, len(rows)) | {"base.words": _words(workshop)} | _told(workshop)
    results.mkdir(parents=True, exist_ok=True)
    write_whole(results / "dp_adapter.json", report.encoded(found, facts))
    write_whole(results / "dp_adapter.md", report.page(found, facts, how, credits).encode())
    sheet = _sheet(kept[Task(report.OURS, 0)]["sheet"])
    write_whole(results / "dp_adapter.png", partial(sheet.save, format="PNG"))


def _facts(config: Config, plan: Plan, photos: int) -> dict[str, float]:
    return {
        "photos": photos,
        "side": config.album.side,
        "looks": config.album.looks,
        "held_out": config.album.held_out,
        "trainings": plan.seeds,
        "pairs": plan.pairs,
        "base_steps": config.base.steps,
        "adapter_steps": config.adapters.steps,
        "steps": drawing.STEPS,
        "guidance": drawing.GUIDANCE,
    }


def _finish(config: Config, source: Source, out: Path, count: int, task: Task) -> None:
    """Trains, draws and keeps it."""
    torch.set_num_threads(1)
    keep_log(out)
    began = time.monotonic()
    workshop = Workshop.open(config, source, out)
    system = SYSTEMS[task.system]
    toy = workshop.trained(task.system, system, task.seed)
    album, features = workshop.material.album, workshop.material.features
    pairs = draw(album, album.held_out, "crossed", count, np.random.default_rng((config.seed, task.seed, 9)))
    read = system.features(features, pairs)
    made: Arrays = {name: getattr(pairs, name) for name in BRANCHES}
    made["drawn"] = draw_all(toy, read, [1.0] * len(read), task.seed)
    if task.system == report.OURS:
        made[_named((1.0, 1.0))] = made["drawn"]
        for scale in DIAL[:-1]:
            for scales in ((scale, 1.0), (1.0, scale)):
                made[_named(scales)] = draw_all(toy, read, scales, task.seed)
        read = system.features(features, _crossing(album, task.seed))
        made["sheet"] = draw_all(toy, read, (1.0, 1.0), 0, one_noise=True)
    made |= {f"own {name}": own.numpy() for name, own in Encoder(workshop.bundle)(list(made["drawn"])).items()}
    file = _file(workshop, task, count)
    file.parent.mkdir(exist_ok=True)
    write_whole(file, partial(_save, made))
    log.info("%s %d took %.0f s", *task, time.monotonic() - began)


def _crossing(album: Any, seed: int) -> Pairs:
    """Each of CELLS semantic references with each of CELLS perceptual ones, of other photos."""
    rng = np.random.default_rng((seed, 10))
    photos = rng.permutation(len(album.rows))
    some = np.resize(photos[: len(photos) // 2], CELLS), np.resize(photos[len(photos) // 2 :], CELLS)
    looks = rng.choice(np.asarray(album.held_out), (2, CELLS))
    semantic, perceptual = (album.number(photo, look) for photo, look in zip(some, looks, strict=True))
    rows, columns = (each.ravel() for each in np.meshgrid(semantic, perceptual, indexing="ij"))
    return Pairs(rows, columns, rows)


def _read(workshop: Workshop, made: Arrays) -> Drawn:
    album, features = workshop.material.album, workshop.material.features
    photos = _layouts(workshop)
    pictures = made["drawn"]
    own = {name: made[f"own {name}"] for name in BRANCHES}
    there = {name: {place: features[name][made[place]].numpy() for place in BRANCHES} for name in BRANCHES}
    nearer = {name: {place: (own[name] * there[name][place]).sum(1) for place in BRANCHES} for name in BRANCHES}
    heads = [head.name for head in workshop.bundle.heads if head.kind == "quality"]
    shown = {place: made[place] // album.config.looks for place in BRANCHES}
    dials, changes, unshown = {}, {}, None
    if _named((0.0, 1.0)) in made:
        for name, both in (("perceptual", lambda scale: (scale, 1.0)), ("semantic", lambda scale: (1.0, scale))):
            steps = [made[_named(both(scale))] for scale in DIAL]
            dials[name] = np.stack([_values(step, photos[shown["semantic"]]) for step in steps])
            changes[name] = np.abs(steps[-1].astype(float) - steps[0]).mean((1, 2, 3))
        unshown = _nearest(made[_named((1.0, 0.0))], photos)
    return Drawn(
        attributes=_measured(pictures),
        wanted={place: _measured(_pictures(workshop, made[place])) for place in BRANCHES},
        nearest=_nearest(pictures, photos),
        photos=shown,
        margins={
            "perceptual": nearer["perceptual"]["perceptual"] - nearer["perceptual"]["semantic"],
            "semantic": nearer["semantic"]["semantic"] - nearer["semantic"]["perceptual"],
        },
        qualities={head: made["own scores"][:, place] for place, head in enumerate(heads)},
        dials=dials,
        changes=changes,
        unshown=unshown,
    )


def _ideal(workshop: Workshop, made: Arrays) -> Arrays:
    """As if the very target were drawn: the semantic reference's photo under the perceptual reference's look."""
    album, features = workshop.material.album, workshop.material.features
    target = album.number(made["semantic"] // album.config.looks, made["perceptual"] % album.config.looks)
    own = {f"own {name}": features[name][target].numpy() for name in (*BRANCHES, "scores")}
    return {**{name: made[name] for name in BRANCHES}, **own, "drawn": _pictures(workshop, target)}


def _words(workshop: Workshop) -> Estimate:
    """How often the base is recognised to draw a photo by its word."""
    photos = np.tile(np.arange(len(workshop.material.album.rows)), 4)
    return intervals.mean(_nearest(draw_words(workshop.base, photos, 0), _layouts(workshop)) == photos)


def _told(workshop: Workshop) -> dict[str, Estimate]:
    """What linear probes read from each feature of pictures under held-out looks: what adapters can know at best."""
    album = workshop.material.album
    photos, looks = np.divmod(np.arange(len(album)), album.config.looks)
    known, asked = (np.isin(looks, np.asarray(some)) for some in (album.learnt, album.held_out))
    measured = _measured(_pictures(workshop, np.arange(len(album))))
    found = {}
    for name in ("perceptual", "semantic", "coarse"):
        feature = workshop.material.features[name].numpy()
        named = probe.classify(feature[known], photos[known], feature[asked]) == photos[asked]
        found[f"probe.photo.{name}"] = intervals.mean(named, photos[asked])
        for place, attribute in enumerate(ATTRIBUTES):
            read = probe.regress(feature[known], measured[known, place], feature[asked])
            truth = intervals.srcc_with(measured[asked, place])
            found[f"probe.{attribute}.{name}"] = intervals.measure(read, truth, photos[asked])
    return found


def _layouts(workshop: Workshop) -> NDArray[np.float64]:
    """Each photo's layout (P, cells²), the mean of those under the looks that may be learnt."""
    album = workshop.material.album
    some = np.asarray(album.learnt)
    return np.stack(
        [layout(_pictures(workshop, album.number(photo, some))).mean(0) for photo in range(len(album.rows))]
    )


def _pictures(workshop: Workshop, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Those of the album, back from their latents, of which the base loses nothing."""
    return np.stack(workshop.base.decode(workshop.material.latents(numbers)))


def _measured(pictures: Sequence[RGB] | NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.stack([attributes(picture) for picture in pictures])


def _values(pictures: NDArray[np.uint8], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The attributes, and the likeness to what is wanted (N, cells²)."""
    return np.concatenate([_measured(pictures), (layout(pictures) * wanted).sum(1, keepdims=True)], 1)


def _nearest(pictures: NDArray[np.uint8], photos: NDArray[np.float64]) -> NDArray[np.intp]:
    return (layout(pictures) @ photos.T).argmax(1)


def _sheet(pictures: NDArray[np.uint8]) -> Image.Image:
    cells = pictures.reshape(CELLS, CELLS, *pictures.shape[1:])
    rows = [[Image.fromarray(cell) for cell in row] for row in cells]
    return labelled(rows, [f"content {i + 1}" for i in range(CELLS)], [f"look {i + 1}" for i in range(CELLS)], {})


def _named(scales: Sequence[float]) -> str:
    return f"at {scales[0]:g} {scales[1]:g}"


def _file(workshop: Workshop, task: Task, pairs: int) -> Path:
    """Named by all that the pictures depend on."""
    made = (workshop.config, workshop.material.album.key, workshop.bundle.hash, pairs, drawing.STEPS, drawing.GUIDANCE)
    name = hashlib.sha256(msgspec.json.encode(made)).hexdigest()[:12]
    return workshop.out / "drawn" / f"{task.system}-{task.seed}-{name}.npz"


def _save(made: Arrays, path: Path) -> None:
    with path.open("wb") as file:  # NumPy adds a suffix to a path
        np.savez_compressed(file, **made)


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.dp_adapter.evaluate", description=__doc__)
    parser.add_argument("config", type=Path, metavar="CONFIG.toml")
    add_source(parser)
    parser.add_argument("--out", type=Path, required=True, help="the run's folder: log, caches, checkpoints, pictures")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    plan = Plan()
    parser.add_argument("--seeds", type=int, default=plan.seeds, help=f"trainings of each (default: {plan.seeds})")
    parser.add_argument("--pairs", type=int, default=plan.pairs, help=f"for each training (default: {plan.pairs})")
    parser.add_argument("--jobs", type=int, default=plan.jobs, help=f"trainings at a time (default: {plan.jobs})")
    options = parser.parse_args()
    plan = Plan(options.seeds, options.pairs, options.jobs)
    command = f"python -m train.dp_adapter.evaluate {options.config} --data DATA --out RUN"
    how = f"`{command}`, {datetime.date.today()}, {Machine.here()}."
    try:
        keep_log(options.out)
        evaluate(Config.read(options.config), source_of(options), options.out, options.results, plan, how)
    except DeclipError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

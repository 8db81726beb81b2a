"""What `declip-rt video` finds and tells apart: `python -m benchmarks.video [--photos FOLDER]`.

Damage: clips of panned and zoomed photos, each with one fault of 1 to 3 s. Found means that events of the right kind
begin and end within one sampling step of the fault; claimed is any event but a cut that lies in part farther from the
fault than that. So an event of a wrong kind at the fault itself counts as neither.
Ladder: six clips at five CRFs; how `hysteresis` goes with CRF, and XPSNR beside it.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from scipy.stats import spearmanr

from benchmarks import clips
from declip_rt import Scorer
from declip_rt.bench.machine import Machine
from declip_rt.video.events import Event
from declip_rt.video.fidelity import Meter
from declip_rt.video.scorer import VideoScorer

STEP = 1.0  # seconds
SLACK = 0.1  # of the edges of events that are told by frames
PLACES = ((6.0, 7.0), (2.0, 4.0), (11.0, 14.0), (15.0, 16.5))  # the last begins with a cut
LADDER = (18, 25, 32, 39, 46)


def missed_and_claimed(
    events: Sequence[Event], kinds: Sequence[str], start: float, end: float
) -> tuple[bool, list[Event]]:
    """Whether the fault from `start` to `end` was not found, and events of any kind that go beyond it."""
    told = [event for event in events if event.kind != "scene"]
    near = STEP + SLACK
    own = [e for e in told if e.kind in kinds and e.start < end + near and e.end > start - near]
    found = own and abs(min(e.start for e in own) - start) <= near and abs(max(e.end for e in own) - end) <= near
    return not found, [e for e in told if e.start < start - near or e.end > end + near]


def damage(videos: VideoScorer, photos: Sequence[Path], folder: Path) -> Iterator[str]:
    """The table."""
    file = folder / "clip.mp4"
    made = range(0, len(photos)) if len(photos) <= 8 else range(0, len(photos) - clips.SCENES + 1, clips.SCENES)
    plain = [clips.clip(first, photos) for first in made]
    claimed = 0
    for frames in plain:
        clips.write(file, frames)
        claimed += sum(event.kind != "scene" for event in videos.score(file, every=STEP).events)
    yield "| fault | found | claimed beside it | missed |"
    yield "|---|---|---|---|"
    yield f"| none | - | {claimed} in {len(plain)} clips | - |"
    for fault, kinds in clips.FAULTS.items():
        found, others, misses = Counter[bool](), 0, []
        for number, frames in enumerate(plain):
            for start, end in PLACES:
                clips.write(
                    file, clips.damaged(frames, fault, start, end), gap=(start, end) if fault is clips.lost else None
                )
                missed, claims = missed_and_claimed(videos.score(file, every=STEP).events, kinds, start, end)
                found[not missed] += 1
                others += len(claims)
                misses += [f"clip {number} from {start:g} s"] * missed
        yield f"| {fault.__name__} | {found[True]} of {found.total()} | {others} | {', '.join(misses) or '-'} |"


def variants(videos: VideoScorer, photos: Sequence[Path], folder: Path) -> Iterator[str]:
    """The table of the containers and streams: a clip with blur from 6 to 8 s and one without."""
    yield "| variant | blur found | claimed | claimed in the clean clip |"
    yield "|---|---|---|---|"
    for name, (write, suffix) in clips.VARIANTS.items():
        file, frames = folder / f"clip{suffix}", clips.clip(0, photos)
        write(file, frames)
        clean = [e for e in videos.score(file, every=STEP).events if e.kind not in ("scene", "discontinuity")]
        write(file, clips.damaged(frames, clips.blur, 6, 8))
        told = [e for e in videos.score(file, every=STEP).events if e.kind != "discontinuity"]
        missed, claims = missed_and_claimed(told, ("low",), 6, 8)
        yield f"| {name} | {'no' if missed else 'yes'} | {len(claims)} | {len(clean)} |"


def ladder(videos: VideoScorer, photos: Sequence[Path], folder: Path) -> Iterator[str]:
    """The table."""
    yield f"| clip | {' | '.join(f'CRF {crf}' for crf in LADDER)} | SRCC of hysteresis | of XPSNR |"
    yield f"|---|{'---|' * len(LADDER)}---|---|"
    every = []
    for number in range(6):
        frames = clips.clip(number, photos) if number < 5 else clips.clip(0, photos)[::-1]
        source, file = folder / "source.mp4", folder / "encode.mp4"
        clips.write(source, frames, crf=4)
        scores, dBs = [], []
        for crf in LADDER:
            clips.write(file, frames, crf=crf)
            scores.append(videos.score(file, every=STEP).pooled["technical"].hysteresis)
            dBs.append(_xpsnr(source, file))
        ranks = [float(spearmanr(values, LADDER).statistic) for values in (scores, dBs)]
        every.append(ranks)
        cells = " | ".join(f"{score:.3f} ({dB:.1f} dB)" for score, dB in zip(scores, dBs, strict=True))
        yield f"| {number} | {cells} | {ranks[0]:.2f} | {ranks[1]:.2f} |"
    median, worst = np.median(every, 0), np.max(every, 0)
    yield f"| median, worst |{' |' * len(LADDER)} {median[0]:.2f}, {worst[0]:.2f} | {median[1]:.2f}, {worst[1]:.2f} |"


def _xpsnr(source: Path, encode: Path) -> float:
    """The mean over frames, of luma, in dB."""
    meter = Meter()
    with av.open(str(source)) as one, av.open(str(encode)) as other:
        pairs = zip(one.decode(video=0), other.decode(video=0), strict=True)
        return float(np.mean([meter.measure(*pair).xpsnr[0] for pair in pairs]))


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.video", description=__doc__)
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="of undistorted photos (default: the examples')")
    parser.add_argument("--only", choices=("damage", "variants", "ladder"), help="one of the three")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there, as Markdown")
    options = parser.parse_args()
    photos = sorted(each for each in options.photos.iterdir() if each.is_file()) if options.photos else clips.CLEAN
    lines = []
    with TemporaryDirectory() as folder, Scorer(device="cpu", precision="fp32") as scorer:
        videos = VideoScorer(scorer)
        for table in (damage, variants, ladder):
            if options.only in (None, table.__name__):
                lines += ["", f"## {table.__name__.capitalize()}", "", *table(videos, photos, Path(folder))]
    source = f"{len(photos)} photos of --photos" if options.photos else "the five undistorted photos of examples/photos"
    head = [
        "# What video finds and tells apart",
        "",
        f"`python -m benchmarks.video`, {datetime.date.today()}, {Machine.here()}; declip-tiny, fp32; clips of 20 s, "
        f"{clips.SIZE[0]}x{clips.SIZE[1]}, of {source}; a sample a second.",
    ]
    text = "\n".join([*head, *lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

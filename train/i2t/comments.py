"""Builds I&2T data from people's critiques of photos, such as AVA's or DPC-Captions'.

`python -m train.i2t.comments COMMENTS --images DIR --out i2t.jsonl`. Of each comment the sentences on how the photo
looks become its perceptual texts. A lexicon tells them from the rest: what the photo shows, congratulations, votes.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import html
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import sqrt
from pathlib import Path, PurePosixPath
from typing import Any

import ftfy
import msgspec

from declip_rt.errors import ConfigError, DeclipError
from train import texts
from train.i2t.manifest import Row, write

LEXICON = Path(__file__).with_name("lexicon.toml")
SAMPLES = 8  # sentences of each sort in the summary

CLEANING = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), replacement)
    for pattern, replacement in (
        (r"<blockquote.*?</blockquote>|\[quote.*?\[/quote\]", "\n"),  # another's words
        (r"<(?:br|/?p|/?div|/?li|/?[uo]l|/?tr|hr)\b[^<>]*>", "\n"),
        (r"</?[a-z][^<>]*>|\[/?(?:b|i|u|url|img)\b[^\[\]]*\]", ""),
        (r"(?:https?://|www\.)\S*[\w/]", ""),
        (r"\bmessage edited by [^\n]*", ""),
        (r"[:;=]['^o-]?[()\[\]dp*|/\\]+(?!\w)|<3|\^_*\^", ""),  # emoticons
        ("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]+", ""),  # emoji
    )
)
SIGNATURE = re.compile(
    r"(?:^|(?<=[.!?)]))[ \t]*"
    r"(?:[-–—~]{1,2} ?|(?i:cheers|(?:(?:kind|best|warm) )?regards|best wishes|sincerely)\b[ ,.!\n]*)"
    r"(?:[A-Z][\w.]*[ \t]*){0,2}$",
    re.MULTILINE,
)
BULLET = re.compile(r"^(?:[-–—•*~|]+\s*|\d{1,2}[:)]\s+)+")
END = re.compile(r"([.!?…]+)[\"')\]]*(?=\s|$|[A-Z][a-z])")  # of a sentence, perhaps
ABBREVIATIONS = {"e.g", "eg", "i.e", "ie", "vs", "approx", "esp", "mr", "mrs", "ms", "dr", "st", "f"}
CLOSING = {"etc", "sec", "min", "ft", "a.m", "p.m"}  # abbreviations that may end a sentence too


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries of one weight."""

    weight: float
    entries: tuple[str, ...]


class Lexicon(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What makes a sentence perceptual; lexicon.toml explains the entries."""

    threshold: float
    shortest: int  # words
    longest: int  # words
    groups: dict[str, Group]

    @staticmethod
    def read(path: Path) -> Lexicon:
        """Raises ConfigError, also where an entry is in it twice."""
        try:
            lexicon = msgspec.toml.decode(path.read_bytes(), type=Lexicon)
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot use the lexicon {path}: {error}") from error
        entries = Counter(entry for group in lexicon.groups.values() for entry in group.entries)
        if twice := [entry for entry, count in entries.items() if count > 1]:
            raise ConfigError(f"the lexicon {path} has these entries twice: {', '.join(twice)}")
        return lexicon

    @cached_property
    def _entries(self) -> list[tuple[re.Pattern[str], float]]:
        """Each with its weight; the longest come first, for the first that fits is taken."""
        pairs = [(entry.lower(), group.weight) for group in self.groups.values() for entry in group.entries]
        pairs.sort(key=lambda pair: -len(pair[0]))
        escaped = [(re.sub(r"\\-|\\ ", r"[\\s-]?", re.escape(entry)), weight) for entry, weight in pairs]
        return [(re.compile(entry.replace(r"\*", r"\w*")), weight) for entry, weight in escaped]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(entry.pattern for entry, _ in self._entries)})\b")

    @cached_property
    def _weight(self) -> Callable[[str], float]:
        """The weight of what `_any` found; a capturing group for each entry would be a hundred times slower."""
        return cache(lambda found: next(weight for entry, weight in self._entries if entry.fullmatch(found)))

    def judge(self, sentence: str) -> tuple[float, str]:
        """Its score, and why it is dropped ("": it is kept)."""
        words = len(sentence.split())
        weights = [self._weight(found) for found in self._any.findall(sentence.lower())]
        score = sum(weights) / sqrt(words)
        if words < self.shortest:
            return score, "too short"
        if words > self.longest:
            return score, "too long"
        if not any(weight > 0 for weight in weights):
            return score, "no perceptual word"
        return score, "" if score >= self.threshold else "score too low"


def clean(comment: str) -> str:
    """Without markup, quotations, links, emoticons and signatures; a line break stays one."""
    text = ftfy.fix_text(html.unescape(comment))
    for pattern, replacement in CLEANING:
        text = pattern.sub(replacement, text)
    return SIGNATURE.sub("", text.strip())


def sentences(comment: str) -> list[str]:
    """The clean sentences of a comment, without bullets."""
    found = []
    for line in clean(comment).splitlines():
        start = 0
        for end in END.finditer(line):
            if _ends(line[start : end.start()], end[1], line[end.end() :].lstrip(" \"'(")):
                found.append(line[start : end.end()])
                start = end.end()
        found.append(line[start:])
    stripped = (BULLET.sub("", " ".join(text.split())) for text in found)
    return [text for text in stripped if any(character.isalpha() for character in text)]


def _ends(before: str, mark: str, after: str) -> bool:
    """Whether a sentence ends at `mark`; one may go on after dots in lower case."""
    if not after or mark.strip(".…"):
        return True
    word = (before.split() or [""])[-1].lstrip("(\"'").lower()
    if len(mark) > 1 or mark == "…" or word in CLOSING:
        return not after[0].islower()
    return word not in ABBREVIATIONS


@dataclass(frozen=True, slots=True)
class Judged:
    """One sentence of a comment on `image`."""

    image: str
    sentence: str
    score: float
    reason: str  # why it was dropped; "" where it was kept


def judge(comments: Iterable[tuple[str, str]], files: dict[str, str], lexicon: Lexicon) -> Iterator[Judged]:
    """Every sentence of `comments`, which are pairs of a key of `files` and a text. Images get the names in `files`."""
    kept = set()
    for image, comment in comments:
        name = files.get(image, image)
        for sentence in sentences(comment):
            score, reason = lexicon.judge(sentence)
            if image not in files:
                reason = "no such image"
            elif (name, sentence.casefold()) in kept:
                reason = "repeated"
            elif not reason:
                kept.add((name, sentence.casefold()))
            yield Judged(name, sentence, score, reason)


def build(judged: Iterable[Judged], captions: dict[str, list[str]], folder: str, provenance: str) -> Iterator[Row]:
    """A row for each image of which a sentence was kept; `folder` goes before the images' names."""
    kept = defaultdict(list)
    for one in judged:
        if not one.reason:
            kept[one.image].append(one.sentence)
    for image, perceptual in kept.items():
        semantic = dict.fromkeys(texts.semantic(label.replace("_", " ")) for label in captions.get(image, ()) if label)
        yield Row((PurePosixPath(folder) / image).as_posix(), tuple(perceptual), tuple(semantic), provenance)


def pairs(path: Path, image: str, *columns: str) -> Iterator[tuple[str, str]]:
    """The column `image` of a CSV or JSONL file with each of the texts' columns. Raises ConfigError.

    In JSONL a text may be a list.
    """
    for number, row in enumerate(_table(path), 1):
        if lost := [column for column in (image, *columns) if column not in row]:
            raise ConfigError(f"{path}, row {number}: no column {', '.join(lost)}; it has {', '.join(map(str, row))}")
        for text in (row[column] for column in columns):
            for one in text if isinstance(text, list) else [text]:
                yield str(row[image]), str(one or "")


def _table(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            if path.suffix.lower() == ".jsonl":
                yield from (msgspec.json.decode(line, type=dict[str, Any]) for line in file if line.strip())
            else:
                yield from csv.DictReader(file)
    except (OSError, msgspec.DecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def find(folder: Path) -> dict[str, str]:
    """The files below `folder`, by their names with and without suffix (AVA's tables leave it out)."""
    if not folder.is_dir():
        raise ConfigError(f"--images {folder} is no folder")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {PurePosixPath(name).with_suffix("").as_posix(): name for name in names} | {name: name for name in names}


def report(path: Path, judged: list[Judged]) -> None:
    """Writes every sentence, its score and its fate as CSV. Raises ConfigError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "sentence", "score", "kept", "reason"])
            writer.writerows(
                [one.image, one.sentence, f"{one.score:.3f}", int(not one.reason), one.reason] for one in judged
            )
    except OSError as error:
        raise ConfigError(f"cannot write the report {path}: {error}") from error


def summarize(judged: list[Judged]) -> str:
    """How many sentences were kept and dropped, why, and those nearest to the threshold."""
    reasons = Counter(one.reason for one in judged)
    kept = [one for one in judged if not one.reason]
    low = [one for one in judged if one.reason == "score too low"]
    lines = [f"{len(judged)} sentences, {len(kept)} kept"]
    lines += [f"{count:>8} dropped: {reason}" for reason, count in reasons.most_common() if reason]
    for title, samples in (
        ("dropped, the highest scores:", heapq.nlargest(SAMPLES, low, key=lambda one: one.score)),
        ("kept, the lowest scores:", heapq.nsmallest(SAMPLES, kept, key=lambda one: one.score)),
    ):
        lines += [title, *(f"{one.score:8.2f} {one.sentence}" for one in samples)]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.comments", description=__doc__)
    parser.add_argument("comments", type=Path, help="CSV or JSONL with a row for each comment", metavar="COMMENTS")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="where the images are")
    parser.add_argument("--out", type=Path, required=True, help="JSONL or Parquet")
    parser.add_argument("--captions", type=Path, help="CSV or JSONL with the columns image and label: what photos show")
    parser.add_argument("--lexicon", type=Path, default=LEXICON, help=f"one of your own (default: {LEXICON.name})")
    parser.add_argument("--report", type=Path, metavar="CSV", help="every sentence, its score, and why it was dropped")
    parser.add_argument("--image-column", default="image", help="of COMMENTS (default: image)")
    parser.add_argument(
        "--comment-column", nargs="+", default=["comment"], help="of COMMENTS, or several (default: comment)"
    )
    options = parser.parse_args()
    try:
        lexicon, files = Lexicon.read(options.lexicon), find(options.images)
        comments = pairs(options.comments, options.image_column, *options.comment_column)
        judged = list(judge(comments, files, lexicon))
        captions = defaultdict(list)
        for image, label in pairs(options.captions, "image", "label") if options.captions else ():
            captions[files.get(image, image)].append(label)
        folder = os.path.relpath(options.images.resolve(), options.out.resolve().parent)
        rows = list(build(judged, captions, folder, f"comments of {options.comments.name}"))
        if options.report:
            report(options.report, judged)
        print(summarize(judged))
        if not rows:
            raise ConfigError(f"no sentence of {options.comments} was kept, so {options.out} is not written")
        write(options.out, rows)
    except DeclipError as error:
        print(f"comments: {error}", file=sys.stderr)
        return 2
    print(f"{len(rows)} images in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

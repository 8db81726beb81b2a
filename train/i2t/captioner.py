"""Writes semantic texts by a vision-language model: `python -m train.i2t.captioner MANIFEST --model NAME --out NEW`.

NAME is a model of `transformers` that takes an image and a text, by its name on the hub or its folder. With --rewrite
it gets each row's caption, to write it again without a word on how the photo looks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch

from declip_rt.errors import ConfigError, DeclipError, ImageError
from train.i2t.manifest import Images, Row, read
from train.i2t.purity import look_words

DESCRIBE = (
    "In one short sentence, say what this photo shows: subjects, actions, place. Say nothing of its quality, light, "
    "color, focus or style."
)
REWRITE = "Rewrite this caption of the photo in one short sentence, without words for quality, light, color, style:"
TOKENS = 60  # at most, of an answer


class Captioner:
    """A vision-language model. Raises ConfigError where transformers or the model is not there."""

    def __init__(self, name: str, device: str) -> None:
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError as error:
            raise ConfigError('captions need transformers: pip install "declip-rt[captions]"') from error
        try:
            self._processor = AutoProcessor.from_pretrained(name)
            self._model = AutoModelForImageTextToText.from_pretrained(name).to(device).eval()
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot load {name}: {error}") from error
        tokenizer = self._processor.tokenizer
        tokenizer.padding_side = "left"  # an answer goes on where its prompt ends
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token

    @torch.no_grad()
    def __call__(self, images: Sequence[Any], prompts: Sequence[str]) -> list[str]:
        """One answer, cleaned, for each RGB image (H, W, 3) and prompt."""
        asked = [self._ask(prompt) for prompt in prompts]
        inputs = self._processor(images=list(images), text=asked, padding=True, return_tensors="pt")
        made = self._model.generate(**inputs.to(self._model.device), max_new_tokens=TOKENS, do_sample=False)
        answers = self._processor.batch_decode(made, skip_special_tokens=True)
        echoes = self._processor.batch_decode(inputs["input_ids"], skip_special_tokens=True)
        return [tidy(answer, echo) for answer, echo in zip(answers, echoes, strict=True)]

    def _ask(self, prompt: str) -> str:
        """The prompt in the model's own form of a dialogue, where it has one."""
        if not getattr(self._processor, "chat_template", None):
            return prompt
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        return self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def tidy(answer: str, echo: str) -> str:
    """The first sentence of an answer, without the prompt that some models repeat and without its full stop."""
    text = " ".join(answer.removeprefix(echo).split())
    return re.split(r"(?<=[.!?])\s", text)[0].strip(" .\"'")


def caption(
    rows: Sequence[Row], images: Images, ask: Captioner, *, rewrite: bool, batch: int, by: str
) -> Iterator[Row]:
    """The rows whose images can be read, with the new semantic text."""
    opened = ((row, _open(images, row)) for row in rows)
    readable = ((row, image) for row, image in opened if image is not None)
    while group := list(islice(readable, batch)):
        prompts = [f"{REWRITE} {row.semantic[0]}" if rewrite and row.semantic else DESCRIBE for row, _ in group]
        for (row, _), answer in zip(group, ask([image for _, image in group], prompts), strict=True):
            semantic = (answer,) if answer else row.semantic
            provenance = f"{row.provenance}, semantic by {by}".lstrip(", ")
            yield msgspec.structs.replace(row, semantic=semantic, provenance=provenance)


def _open(images: Images, row: Row) -> Any:
    try:
        return images.open(row)
    except ImageError as error:
        print(f"left out: {row.image}: {error}", file=sys.stderr)
        return None


def main() -> int:
    parser = argparse.ArgumentParser("python -m train.i2t.captioner", description=__doc__)
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--model", required=True, help="a hub name or a folder")
    parser.add_argument("--out", type=Path, required=True, help="JSONL beside MANIFEST; a run that was stopped goes on")
    parser.add_argument("--rewrite", action="store_true", help="rewrite the captions that are there")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    try:
        if options.out.resolve().parent != options.manifest.resolve().parent or options.out.suffix != ".jsonl":
            raise ConfigError(f"--out must be a .jsonl in {options.manifest.parent}, from where images are named")
        rows = read(options.manifest)
        done = {_key(row) for row in read(options.out)} if options.out.is_file() else set()
        left = [row for row in rows if _key(row) not in done]
        ask = Captioner(options.model, options.device)
        written = impure = 0
        with options.out.open("ab") as file:
            images = Images(options.manifest.parent)
            made = caption(left, images, ask, rewrite=options.rewrite, batch=options.batch, by=options.model)
            for row in made:
                file.write(msgspec.json.encode(row) + b"\n")
                file.flush()
                written += 1
                impure += bool(look_words(row.semantic[0])) if row.semantic else 0
    except DeclipError as error:
        print(f"captioner: {error}", file=sys.stderr)
        return 2
    lost = len(left) - written
    print(f"{written} rows written, {len(done)} were there, {lost} images could not be read")
    print(f"{impure} of the texts written still have a word on how the photo looks")
    return 1 if lost else 0


def _key(row: Row) -> tuple[object, ...]:
    return row.image, row.shrink, row.edits, row.seed, row.perceptual


if __name__ == "__main__":
    sys.exit(main())

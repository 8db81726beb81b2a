"""Scores against the user's own antonym prompts, by the bundle's text tower (as in CLIP-IQA, arXiv 2207.12396)."""

from __future__ import annotations

import hashlib
import html
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from declip_rt.backends.contract import Floats
from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.errors import BundleError, ConfigError, Unavailable
from declip_rt.extras import load
from declip_rt.model.bundle import Bundle

logger = logging.getLogger(__name__)
Space: TypeAlias = Literal["perceptual", "semantic"]


@dataclass(frozen=True)
class Prompts:
    """One named axis of the user's: how much nearer an image is to the texts `high` than to the texts `low`.

    Several texts on a side are an ensemble. `space` is the image's feature that is compared with them: how it looks
    (perceptual), or what it shows (semantic).

    Raises:
        ConfigError: no printable name, an unknown space, or a side without text.
    """

    name: str
    high: tuple[str, ...]
    low: tuple[str, ...]
    space: Space = "perceptual"

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ConfigError(f"{self.name!r} cannot name a column; give prompts a printable name")
        if self.space not in get_args(Space):
            raise ConfigError(f"prompts {self.name!r}: no space {self.space!r}; choose perceptual or semantic")
        for side in (self.high, self.low):
            if isinstance(side, str) or not side or not all(text.strip() for text in side):
                raise ConfigError(f"prompts {self.name!r}: a side is {side!r}; give a tuple of texts")


PART = r"(?:\\[:=\\]|\\(?![:=\\])|[^%s\\])"  # a letter of it, perhaps escaped
FORM = re.compile(f"(?:({PART % '=:'}*)=)?({PART % ':'}+):({PART % ':'}+)")
ESCAPED = re.compile(r"\\([:=\\])")


def parse(arguments: Sequence[str], space: Space) -> tuple[Prompts, ...]:
    """The prompts in `[NAME=]HIGH:LOW` arguments; a repeated NAME adds to its ensemble. Raises ConfigError.

    A backslash before `:`, `=` or a backslash takes it as it is.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for argument in arguments:
        match = FORM.fullmatch(argument)
        parts = match.groups("") if match else ("", "", "")
        name, high, low = (ESCAPED.sub(r"\1", part).strip() for part in parts)
        if not high or not low:
            raise ConfigError(
                f"prompts {argument!r}: the form is [NAME=]HIGH:LOW, such as 'calm=calm scene:busy scene'"
            )
        pairs.setdefault(name or high, []).append((high, low))
    return tuple(
        Prompts(name, tuple(high for high, _ in texts), tuple(low for _, low in texts), space)
        for name, texts in pairs.items()
    )


def digest(prompts: Sequence[Prompts]) -> str:
    """A sha256 that differs where any name, text or space does."""
    return hashlib.sha256(repr([astuple(p) for p in prompts]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Axis:
    """Prompts as a direction, float32 (D,), in their feature space."""

    name: str
    space: Space
    direction: Floats

    def score(self, feature: Floats) -> float:
        """feature (D,), L2-normalised -> [0, 1]: the softmax's share of `high` against `low`."""
        return 0.5 + 0.5 * math.tanh(0.5 * float(feature @ self.direction))  # a sigmoid that cannot overflow


def axes(bundle: Bundle, prompts: Sequence[Prompts]) -> tuple[Axis, ...]:
    """The directions of all prompts, by the text tower.

    A perceptual prompt that is far from all texts of the training gets a warning.

    Raises:
        BundleError: the bundle has no text tower.
        ConfigError: a name comes twice or is that of another value, or a text is longer than the model reads.
        Unavailable: a library is not installed.
    """
    if not prompts:
        return ()
    names = [p.name for p in prompts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"two prompts are called {min(twice)!r}; give one of them another name")
    heads = [head.name for head in bundle.heads]
    if taken := {
        "width",
        "height",
        "percentile",
        "damaged",
        "preview",
        *heads,
        *(f"{head}_mos" for head in bundle.mos),
    } & set(names):
        raise ConfigError(f"prompts cannot be called {min(taken)!r}, as another value is; give them another name")
    encoder = TextEncoder(bundle)
    return tuple(encoder.axis(p) for p in prompts)


class TextEncoder:
    """A bundle's text tower, on the CPU. Raises BundleError where there is none, Unavailable without its libraries."""

    def __init__(self, bundle: Bundle) -> None:
        tower = bundle.manifest.text
        if tower is None:
            raise BundleError(
                f"{bundle.path} has no text tower, which prompts need; export it again from its checkpoint "
                "(python -m export), or choose another `model`"
            )
        self._tower = tower
        self._tokenizer = Tokenizer(bundle.path / tower.tokenizer.file, tower.context)
        self._session = open_session(bundle.path / tower.graph.file, session_options("fp32"))

    def axis(self, prompts: Prompts) -> Axis:
        """The direction from `low` to `high`. Raises ConfigError for a text too long."""
        (high, low), strange = zip(*(self._encode(side) for side in (prompts.high, prompts.low)), strict=True)
        if prompts.space == "perceptual" and (texts := [repr(text) for side in strange for text in side]):
            logger.warning(
                "prompts %r: the perceptual space was trained on nothing like %s, so the score may mean nothing; "
                "say how a photo looks, or make them semantic prompts",
                prompts.name,
                " and ".join(texts),
            )
        return Axis(prompts.name, prompts.space, self._tower.scale * (high - low))

    def _encode(self, texts: Sequence[str]) -> tuple[Floats, list[str]]:
        """The L2-normalised mean (D,) of the texts' L2-normalised features, and the texts that are not familiar."""
        tokens = {"tokens": self._tokenizer(texts)}
        if self._tower.familiar is None:
            (features,), strange = self._session.run(["text"], tokens), list[str]()
        else:
            features, familiarity = self._session.run(["text", "familiarity"], tokens)  # (M, D), (M,)
            strange = [text for text, near in zip(texts, familiarity, strict=True) if near < self._tower.familiar]
        mean: Floats = features.mean(0)
        return mean / np.linalg.norm(mean), strange


class Tokenizer:
    """A tokenizer.json: the ids of open_clip's SimpleTokenizer, or of its HFTokenizer.

    The names of control tokens are plain text here. open_clip takes them for the tokens themselves.
    """

    def __init__(self, file: Path, context: int) -> None:
        self._context = context
        self._ftfy = load("ftfy")
        try:
            self._tokenizer = load("tokenizers").Tokenizer.from_file(str(file))
        except Unavailable:
            raise
        except BaseException as error:  # its own exception is a plain one, and a panic in Rust not even that
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise BundleError(f"{file} is no tokenizer: {error}; export or install the bundle again") from error
        self._tokenizer.encode_special_tokens = True

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The ids (M, L), padded with 0. Raises ConfigError for a text of more than L tokens, both ends included."""
        tokens = np.zeros((len(texts), self._context), np.int64)
        for row, text in zip(tokens, texts, strict=True):
            ids = self.ids(text)
            if len(ids) > self._context:
                raise ConfigError(
                    f"the prompt {text!r} has {len(ids) - 2} tokens, the model reads {self._context - 2}; shorten it"
                )
            row[: len(ids)] = ids
        return tokens

    def ids(self, text: str) -> list[int]:
        """All tokens of the text, between the start and the end token."""
        clean = " ".join(html.unescape(html.unescape(self._ftfy.fix_text(text))).split())
        plain = clean.lower() if self._tokenizer.normalizer is None else clean  # BERT's has a normaliser that lowers
        ids: list[int] = self._tokenizer.encode(plain).ids
        return ids

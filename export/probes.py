"""English of many kinds: what a text tower is proven on, and what tells topics from words for looks."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip import IMAGENET_CLASSNAMES

from train.model import ATTRIBUTES

NOUNS = """
animal bird fish insect plant tree flower fruit food drink cooking person man woman child family crowd body face clothes
house building room furniture street city country mountain sea sky weather fire vehicle machine tool computer phone book
music game sport toy weapon money business work school law politics war history religion language science mathematics
medicine disease travel time news thing object place number letter name event idea
"""
TOPICS = tuple(text for noun in NOUNS.split() for text in (noun, f"a photo of a{'n' * (noun[0] in 'aeiou')} {noun}"))
REMARKS = (  # rounding turns short ones the most
    "Good!",
    "Perfect.",
    "Awesome!",
    "Excellent!",
    "Spot on.",
    "It looks great.",
    "Not sure what",
    "dam",
    "unsharp",
)
LONG = 6  # names of things in a long text


def probes(known: Sequence[str]) -> list[str]:
    """Texts of one word and of many, on how photos look and on what they show. known: texts on how photos look."""
    prompts = [text for _, _, pairs in ATTRIBUTES.values() for pair in pairs for text in pair]
    names = list(IMAGENET_CLASSNAMES[::8])
    looks = list(known[:: max(1, len(known) // len(names))])
    both = [f"{look}, a photo of {name}" for look, name in zip(looks, names, strict=False)]
    long = [", ".join(names[i : i + LONG]) for i in range(0, len(names), LONG)]
    return [*REMARKS, *prompts, *looks, *names, *both, *long]

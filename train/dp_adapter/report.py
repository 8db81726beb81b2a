"""The page of measured control: figures with intervals, what was wanted of them, and a sheet of drawn pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from declip_rt.model.manifest import Estimate
from train.dp_adapter import measures
from train.dp_adapter.card import BRANCHES
from train.dp_adapter.looks import ATTRIBUTES
from train.dp_adapter.measures import Drawn, estimate
from train.tables import Table

OURS, IDEAL = "dp_adapter", "target"
TRANSFER, LEAK, SHOWN, LEAKED = 0.6, 0.2, 5.0, 1.5  # what was wanted of OURS: at least, within, at least, at most
INTRO = """# Two references, two controls

{how}

A frozen base draws a closed set of {photos} photos at {side} pixels. Adapters tell it how a picture should look (the
perceptual reference) and what it should show (the semantic one). References are under {held_out} looks that neither the
base nor the adapters were trained on; {trainings} trainings of each system from seeds of their own on one base, {pairs}
pairs each. The base was trained for {base_steps} steps, adapters for {adapter_steps}; pictures are drawn in {steps}
steps with a guidance of {guidance:g}. In brackets: 95 % intervals, by a bootstrap over trainings and pairs.

- `dp_adapter`: DeCLIP's perceptual feature of one reference, its semantic feature of the other, crossed pairs.
- `coarse`: one adapter on the coarse feature, that DeCLIP's projectors read; of two references it reads the mean.
- `coarse2`: two adapters on the coarse feature, one for each reference; crossed pairs.
- `self`: as `dp_adapter`, but the target is each of its own references, as IP-Adapter trains.
- `target`: no system, but the picture that was asked for: what could be measured at best.
"""


def figures(drawn: Mapping[str, Sequence[Drawn]], photos: int) -> dict[str, Estimate]:
    """Every figure by its key, such as transfer.noise.coarse."""
    found: dict[str, Estimate] = {}
    own = drawn[OURS]
    for name in BRANCHES:
        found[f"alive.{name}"] = estimate(measures.mean(lambda one, name=name: one.changes[name]), own)
    found["alive.content.without"] = estimate(measures.shows_without(photos), own)
    for system, trainings in drawn.items():
        for attribute in ATTRIBUTES:
            found[f"transfer.{attribute}.{system}"] = estimate(measures.follows(attribute, "perceptual"), trainings)
            found[f"look_leak.{attribute}.{system}"] = estimate(measures.follows(attribute, "semantic"), trainings)
        for name in BRANCHES:
            found[f"content.{system}.{name}"] = estimate(measures.shows(name, photos), trainings)
            found[f"similarity.{system}.{name}"] = estimate(
                measures.mean(lambda one, name=name: one.margins[name]), trainings
            )
        for head in trainings[0].qualities:
            found[f"quality.{head}.{system}"] = estimate(
                measures.mean(lambda one, head=head: one.qualities[head]), trainings
            )
        found[f"disentanglement.{system}"] = estimate(measures.disentanglement, trainings)
    for system, trainings in drawn.items():
        if system not in (OURS, IDEAL):
            found[f"above.{system}"] = measures.difference(measures.disentanglement, own, trainings)
    for place, attribute in enumerate(ATTRIBUTES):
        found[f"dial.{attribute}.monotone"] = estimate(measures.monotone("perceptual", place), own)
        found[f"dial.{attribute}.crosstalk"] = estimate(measures.crosstalk(place), own)
    found["dial.content.monotone"] = estimate(measures.monotone("semantic", len(ATTRIBUTES)), own)
    return found


@dataclass(frozen=True)
class Verdict:
    """What was wanted, and whether it is so."""

    wanted: str
    holds: bool
    found: str

    def __str__(self) -> str:
        return f"- {'yes' if self.holds else '**no**'}: {self.wanted} ({self.found})"


def verdicts(found: Mapping[str, Estimate], systems: Sequence[str]) -> list[Verdict]:
    """Of the values themselves; where systems are compared, of intervals that must be apart."""
    transfer = {name: found[f"transfer.{name}.{OURS}"].value for name in ATTRIBUTES}
    leak = {name: found[f"look_leak.{name}.{OURS}"].value for name in ATTRIBUTES}
    semantic, perceptual = (found[f"content.{OURS}.{name}"].value for name in ("semantic", "perceptual"))
    made = [
        Verdict(
            f"transfer of each attribute at least {TRANSFER}", min(transfer.values()) >= TRANSFER, _listed(transfer)
        ),
        Verdict(f"leak of each attribute within {LEAK}", max(map(abs, leak.values())) <= LEAK, _listed(leak)),
        Verdict(f"semantic content at least {SHOWN:g} times chance", semantic >= SHOWN, f"{semantic:.1f}"),
        Verdict(f"perceptual content at most {LEAKED:g} times chance", perceptual <= LEAKED, f"{perceptual:.1f}"),
    ]
    ours = found[f"disentanglement.{OURS}"]
    for system in systems:
        if system not in (OURS, IDEAL):
            other, above = found[f"disentanglement.{system}"], found[f"above.{system}"]
            wanted = f"disentanglement above `{system}`'s, with intervals apart"
            made.append(Verdict(wanted, ours.low > other.high, f"{ours} against {other}; above by {above}"))
    return made


def page(found: Mapping[str, Estimate], facts: Mapping[str, float], how: str, credits: Sequence[str]) -> str:
    """Markdown. how: the command. credits: of the photos that the base draws."""
    systems = tuple(key.removeprefix("disentanglement.") for key in found if key.startswith("disentanglement."))
    tables = [_alive(found), _control(found, systems), _told(found), _own(found, systems), _dials(found)]
    wanted = "\n".join(["## What was wanted", "", *map(str, verdicts(found, systems))]) + "\n"
    sheet = (
        "## Drawn\n\nAll of it is drawn, from one noise: along a row one semantic reference, along a column one "
        "perceptual reference.\n\n![pictures over both references](dp_adapter.png)\n"
    )
    parts = [INTRO.format(how=how, **facts), *(table.markdown() for table in tables), wanted, sheet]
    if credits:
        parts.append("The photos that the base learnt, by: " + "; ".join(credits) + ".\n")
    return "\n".join(parts)


def encoded(found: Mapping[str, Estimate], facts: Mapping[str, float]) -> bytes:
    return msgspec.json.format(msgspec.json.encode({"facts": facts, "figures": found}), indent=1) + b"\n"


def _alive(found: Mapping[str, Estimate]) -> Table:
    return Table(
        "Both branches alive",
        f"What raising a scale of `{OURS}` from 0 to 1 does while the other is 1. Without it, a leak says nothing. The "
        f"frozen base, told the photo's word, draws a photo that is recognised with a share of {found['base.words']}.",
        ("scale", "mean change of a pixel (of 255)", "semantic reference recognised, times chance, at 0", "at 1"),
        (
            ("perceptual", found["alive.perceptual"], "", ""),
            ("semantic", found["alive.semantic"], found["alive.content.without"], found[f"content.{OURS}.semantic"]),
        ),
    )


def _control(found: Mapping[str, Estimate], systems: Sequence[str]) -> Table:
    rows = [
        (f"{title}: {name}", *(found[f"{key}.{name}.{system}"] for system in systems))
        for key, title in (("transfer", "transfer"), ("look_leak", "leak"))
        for name in ATTRIBUTES
    ]
    rows += [
        (f"content of the {name} reference", *(found[f"content.{system}.{name}"] for system in systems))
        for name in ("semantic", "perceptual")
    ]
    rows.append(("disentanglement", *(found[f"disentanglement.{system}"] for system in systems)))
    note = (
        "Transfer: Spearman's correlation of the result's attribute with the perceptual reference's. Leak: the same "
        "with the semantic reference's. Content: how many times chance the result's layout of light and dark is "
        "nearest to that reference's photo. Disentanglement: the mean of (transfer less absolute leak) and (share "
        "recognised as the semantic reference's photo less share recognised as the perceptual one's); 1 is perfect. "
        "Its intervals lie low: drawn anew, a leak near 0 can only grow."
    )
    return Table("Control", note, ("", *systems), tuple(rows))


def _told(found: Mapping[str, Estimate]) -> Table:
    features = ("perceptual", "semantic", "coarse")
    rows = [("photo, share named", *(found[f"probe.photo.{name}"] for name in features))]
    rows += [
        (f"{attribute}, SRCC", *(found[f"probe.{attribute}.{name}"] for name in features)) for attribute in ATTRIBUTES
    ]
    note = (
        "Linear probes of each feature, learnt under the looks that adapters learn from, on pictures under the "
        "held-out looks: what an adapter can know at best. A feature that names the photo and tells the look could "
        "serve either adapter; crossed pairs then teach each what to read."
    )
    return Table("What features tell", note, ("", *features), tuple(rows))


def _own(found: Mapping[str, Estimate], systems: Sequence[str]) -> Table:
    heads = sorted({key.split(".")[1] for key in found if key.startswith("quality.")})
    rows = [
        (f"{name} feature nearer to its reference", *(found[f"similarity.{system}.{name}"] for system in systems))
        for name in BRANCHES
    ]
    rows += [(f"{head} score", *(found[f"quality.{head}.{system}"] for system in systems)) for head in heads]
    note = (
        "By how much the cosine of the result's own perceptual feature with the perceptual reference's is above that "
        "with the semantic reference's, and the other way round; and the mean scores of the results."
    )
    return Table("In DeCLIP's own eyes", note, ("", *systems), tuple(rows))


def _dials(found: Mapping[str, Estimate]) -> Table:
    rows = [
        (f"perceptual: {name}", found[f"dial.{name}.monotone"], found[f"dial.{name}.crosstalk"]) for name in ATTRIBUTES
    ]
    rows.append(("semantic: likeness to the photo", found["dial.content.monotone"], ""))
    note = (
        f"Of `{OURS}`, at 0, 0.5 and 1 while the other scale is 1: how often the value goes one way only, and how much "
        "the semantic scale moves the attribute, as a share of what the perceptual scale does."
    )
    return Table("Dials", note, ("scale", "one way", "moved by the semantic scale"), tuple(rows))


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())

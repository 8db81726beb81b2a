"""Records are the same flat rows everywhere."""

from __future__ import annotations

import pytest

from declip_rt import Bundle, ConfigError, Prompts
from declip_rt.output.records import Columns, failed, findings, key


def test_the_columns(bundle: Bundle) -> None:
    names = list(Columns.of(bundle).types)
    assert names[:5] == ["path", "width", "height", "technical", "aesthetic"]
    assert names[-11:-6] == ["percentile", "findings", "error", "damaged", "preview"]
    assert names[-6:-2] == ["model", "bundle", "precision", "decode_scale"]
    assert names[-2:] == ["size", "mtime_ns"]
    assert {head.name for head in bundle.heads} < set(names)


def test_prompts_stand_between_the_heads_and_the_rest(bundle: Bundle) -> None:
    plain, prompts = Columns.of(bundle), [Prompts("self", ("a",), ("b",)), Prompts("a, b", ("a",), ("c",))]
    names = list(Columns.of(bundle, prompts).types)
    at = names.index("percentile")
    assert names[at - 2 : at] == ["self", "a, b"]
    assert [name for name in names if name not in ("self", "a, b", "prompts_hash")] == list(plain.types)
    assert Columns.of(bundle, prompts).record(self=0.25)["self"] == 0.25


@pytest.mark.parametrize("name", ["technical", "path", "percentile", "sharpness", "prompts_hash"])
def test_prompts_cannot_have_the_name_of_a_column(bundle: Bundle, name: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be called '{name}'"):
        Columns.of(bundle, [Prompts(name, ("a",), ("b",))])


def test_a_failed_record_has_every_column(bundle: Bundle) -> None:
    columns = Columns.of(bundle)
    record = failed(columns, "a.jpg", "broken")
    assert list(record) == list(columns.types)
    assert (record["path"], record["error"], record["technical"], record["bundle"]) == (
        "a.jpg",
        "broken",
        None,
        bundle.hash,
    )


def test_findings_name_the_unusual_ends_strongest_first(bundle: Bundle) -> None:
    assert bundle.manifest.calibration is not None
    marks = bundle.manifest.calibration.percentiles
    usual = {head.name: marks[head.name][50] for head in bundle.heads}
    assert findings(usual, bundle) == []
    odd = usual | {"brightness": marks["brightness"][7], "noisiness": marks["noisiness"][98]}
    assert [found.word for found in findings(odd, bundle)] == ["noisy", "dark"]
    assert [found.word for found in findings(odd, bundle, most=1)] == ["noisy"]


def test_keys_hold_names_that_are_no_utf8() -> None:
    assert key("caf\udce9.jpg") == "caf\\xe9.jpg"
    assert key("café.jpg") == "café.jpg"

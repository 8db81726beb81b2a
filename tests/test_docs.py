"""docs/ says what the code does: the bundle format field by field, an example that opens, links that lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import numpy as np
import onnx
import pytest

from declip_rt import Bundle, BundleError, Scorer
from declip_rt.backends import parity
from declip_rt.model import manifest
from declip_rt.model.manifest import File, Manifest
from tests.conftest import picture

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "bundle.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`[^\n]*\n(.*?)(?=^##|\Z)", TEXT, re.DOTALL | re.MULTILINE))
PAGES = [ROOT / "CHANGELOG.md", ROOT / "train" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def structs() -> dict[str, type[msgspec.Struct]]:
    """All that bundle.json is made of, by name."""
    parts = (File, *_parts(Manifest))
    return {each.__name__: each for each in parts}


def _parts(kind: object) -> Iterator[type[msgspec.Struct]]:
    """The structs in a type, and in the types of their fields."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from _parts(hint)
    for argument in get_args(kind):
        yield from _parts(argument)


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(text)


def test_every_part_of_a_manifest_has_a_section_and_none_is_made_up() -> None:
    assert SECTIONS.keys() == structs().keys()


@pytest.mark.parametrize("name", structs())
def test_a_section_names_the_fields_and_says_which_are_required(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (yes)?[^|]* \|", SECTIONS[name], re.MULTILINE)
    fields = msgspec.structs.fields(structs()[name])
    assert {field: bool(yes) for field, yes in rows} == {field.encode_name: field.required for field in fields}


def test_the_limits_are_those_of_the_code() -> None:
    int8, fp16, bf16, fp8 = (manifest.LIMITS[name] for name in ("int8", "fp16", "bf16", "fp8"))
    assert (
        f"SRCC of every head at least {fp8.srcc}, cosine at least {fp8.cosine}, change at most {fp8.change} |" in TEXT
    )
    assert (
        f"in FP8 cosine at least {fp8.cosine}, change at most {fp8.change}, and {parity.batch_effect('fp8')} |" in TEXT
    )
    assert fp16 == manifest.LIMITS["fp32"]
    near = f"`change` at most {int8.change} (INT8) or {bf16.change} (bf16) |"
    assert f"| the same: `srcc` at least {int8.srcc}, {near}" in TEXT
    assert (
        f"SRCC of every head at least {bf16.srcc}, cosine at least {bf16.cosine}, change at most {bf16.change} |"
        in TEXT
    )
    assert f"| cosine at least {fp16.cosine}, change at most {fp16.change}, and {parity.BATCH_EFFECT} " in TEXT


def test_the_example_is_a_manifest() -> None:
    made = msgspec.json.decode(block("json"), type=Manifest)
    assert made.schema == manifest.SCHEMA
    assert made.files == tuple(made.graphs.values())


def test_the_example_opens_and_scores_with_the_graph_of_the_script(tmp_path: Path) -> None:
    command = [sys.executable, "-c", block("python")]
    sha256 = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    folder = tmp_path / "tiny"
    (folder / "bundle.json").write_text(block("json"))
    with pytest.raises(BundleError, match="was altered"):
        Bundle(folder)
    filled = json.loads(block("json"))
    filled["graphs"]["fp32"]["sha256"] = sha256
    (folder / "bundle.json").write_text(json.dumps(filled))
    with Scorer(folder, "cpu") as scorer:
        features = scorer.embed(picture())
        scores = [score.technical for score in scorer.score_many([picture(seed) for seed in range(11)])]
    assert features.perceptual.shape == features.semantic.shape == (8,)
    assert np.linalg.norm(features.perceptual) == pytest.approx(1, abs=1e-5)
    assert all(0 < score < 1 for score in scores)
    assert len(set(scores)) == 11


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_embedded_graphs_keep_the_contract_of_the_page(bundle: Bundle, precision: str) -> None:
    graph = onnx.load(bundle.graph(precision)).graph
    types = {
        each.name: (each.type.tensor_type.elem_type, [side.dim_value for side in each.type.tensor_type.shape.dim][1:])
        for each in (*graph.input, *graph.output)
    }
    features = (onnx.TensorProto.FLOAT, [bundle.manifest.features])
    assert types == {
        "pixels": (onnx.TensorProto.UINT8, list(bundle.views.shape)),
        "scores": (onnx.TensorProto.FLOAT, [len(bundle.heads)]),
        "perceptual": features,
        "semantic": features,
    }
    assert [node.op_type for node in graph.node if "pixels" in node.input] == ["Cast"]
    assert "pixels" in graph.node[0].input


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_each_decision_is_in_the_index_and_has_the_parts_of_a_record() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert RECORDS
    for record in RECORDS:
        text = record.read_text()
        assert f"]({record.name})" in index
        assert re.search(r"^Date: \d{4}-\d\d-\d\d", text, re.MULTILINE), record.name
        assert re.findall(r"^## (.+)", text, re.MULTILINE) == ["Context", "Options", "Decision", "Consequences"]


def test_the_tree_of_the_rooms_is_that_of_the_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (tree,) = re.findall(r"```\ndeclip_rt/\n(.*?)```", text, re.DOTALL)
    room, named = "", set[str]()
    for mark, name in re.findall(r"^((?:│   )?[├└]── )(\S+)", tree, re.MULTILINE):
        inner = mark.startswith("│")
        named.add(f"{room}{name}" if inner else name)
        room = room if inner else name
    package = ROOT / "declip_rt"
    assert all((package / name).exists() for name in named), sorted(n for n in named if not (package / n).exists())
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert rooms | modules <= named, "each room and each flat module is told"
    assert len(modules) + 2 <= 12

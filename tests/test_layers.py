"""The runtime imports nothing of what is above it, and no torch: by an import statement, or by a name in a string."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import declip_rt

FORBIDDEN = ("torch", "torchvision", "open_clip", "train", "export", "benchmarks")
FILES = sorted(Path(declip_rt.__file__).parent.rglob("*.py"))


def named(node: ast.AST) -> Iterator[str]:
    """The modules that a node imports, or may import later."""
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        yield node.module or ""
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not set(node.value) & set(" \n"):
        yield node.value


def words_of_commands(node: ast.AST) -> list[ast.expr]:
    is_command = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_parser"
    return node.args if is_command else []  # type: ignore[attr-defined]


def forbidden(source: str) -> list[str]:
    """What the source imports and may not, in order."""
    nodes = list(ast.walk(ast.parse(source)))
    words = {id(word) for node in nodes for word in words_of_commands(node)}
    found = (name for node in nodes if id(node) not in words for name in named(node))
    return [name for name in found if name.split(".")[0] in FORBIDDEN]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_runtime_stands_alone(file: Path) -> None:
    assert forbidden(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ("import torch", "torch"),
        ("import numpy, torch.nn as nn", "torch.nn"),
        ("def late():\n    from train.model import load", "train.model"),
        ("from benchmarks import peers", "benchmarks"),
        ("import importlib\nimportlib.import_module('torch')", "torch"),
        ("NEEDED = {'rival': 'export.graph'}", "export.graph"),
        ("load(f'open_clip')", "open_clip"),
    ],
)
def test_what_is_forbidden_is_found(planted: str, name: str) -> None:
    assert forbidden(f"from __future__ import annotations\n{planted}\n") == [name]


def test_what_only_looks_like_it_is_allowed() -> None:
    assert len(FILES) > 40, "they are looked for in the right place"
    assert (
        forbidden("'torch is slower'\nfrom .train import torch\nimport trainer, exporting\nx.torch = 'to export'") == []
    )
    assert forbidden("actions.add_parser('export')") == []

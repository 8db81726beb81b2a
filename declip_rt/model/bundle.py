"""A bundle: a model on disk, as a folder with `bundle.json` and the graphs that it names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path

import msgspec
import numpy as np

from declip_rt.errors import BundleError
from declip_rt.model import onnx_file, trust
from declip_rt.model.manifest import LIMITS, SCHEMA, Head, Manifest, MosMap, ViewSpec, sha256_of

PERCENTS = np.arange(101.0)
EMBEDDED = Path(__file__).parent / "embedded"
DEFAULT = "declip-tiny"


class Bundle:
    """An opened bundle. Opening checks the schema and, unless `verify` is False, every file's hash.

    Args:
        model: a folder with a bundle.json, the name of an embedded bundle, or None for `declip-tiny`.

    Raises:
        BundleError: there is no bundle, it has another schema, or a file is missing or altered.
    """

    def __init__(self, model: str | PathLike[str] | None = None, *, verify: bool = True) -> None:
        self.path = _find(model)
        file = self.path / "bundle.json"
        text = trust.read(file)
        self.hash = hashlib.sha256(text).hexdigest()
        self.manifest = _parse(text, file)
        if verify:
            self.verify()

    def __repr__(self) -> str:
        return f"Bundle({self.name}, {', '.join(self.manifest.graphs)}, {self.hash[:12]}, {str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def heads(self) -> tuple[Head, ...]:
        return self.manifest.heads

    @property
    def views(self) -> ViewSpec:
        return self.manifest.views

    def graph(self, precision: str = "fp32") -> Path:
        """The path of one ONNX graph. Raises BundleError where the bundle has none of this precision."""
        if precision not in self.manifest.graphs:
            has = ", ".join(self.manifest.graphs)
            raise BundleError(f"{self.path} has no {precision} graph; it has: {has}. Export it again to add one.")
        return self.path / self.manifest.graphs[precision].file

    def proves(self, precision: str) -> bool:
        """Whether a graph of this precision is there, and its figures prove that it scores as the FP32 graph does."""
        graph = self.manifest.graphs.get(precision)
        return graph is not None and graph.parity is not None and graph.parity.keeps(LIMITS[precision])

    def verify(self) -> None:
        """Compares every file with its sha256, and sees that graphs have their weights inside. Raises BundleError."""
        for part in self.manifest.files:
            file = self.path / part.file
            try:
                trust.check_regular(file)
                found = sha256_of(file)
            except OSError as error:
                raise BundleError(
                    f"cannot read {file}: {error.strerror}; export or install the bundle again"
                ) from error
            if found != part.sha256:
                raise BundleError(
                    f"{file} was altered: sha256 is {found[:12]}…, bundle.json says {part.sha256[:12]}…; "
                    "export or install the bundle again"
                )
        text = [self.manifest.text.graph] if self.manifest.text else []
        for name in sorted({graph.file for graph in (*self.manifest.graphs.values(), *text)}):
            onnx_file.check(self.path / name)

    @property
    def mos(self) -> Mapping[str, MosMap]:
        """The heads' maps to MOS; empty where the bundle was calibrated to none."""
        return self.manifest.calibration.mos if self.manifest.calibration else {}

    def percentile(self, head: str, score: float) -> float | None:
        """The share, in percent, of the reference photos that score lower. None where the bundle has no reference."""
        if head not in self._references:
            return None
        return float(np.interp(score, self._references[head], PERCENTS))

    @cached_property
    def _references(self) -> Mapping[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        calibration = self.manifest.calibration
        return {name: np.array(values) for name, values in calibration.percentiles.items()} if calibration else {}


def embedded() -> list[str]:
    """The names of the bundles that ship inside the package."""
    return sorted(folder.parent.name for folder in EMBEDDED.glob("*/bundle.json"))


def _find(model: str | PathLike[str] | None) -> Path:
    if model is None:
        return EMBEDDED / DEFAULT
    path = Path(model)
    if (path / "bundle.json").is_file():
        return path
    if str(model) in embedded():
        return EMBEDDED / str(model)
    what = "is a folder without bundle.json" if path.is_dir() else "is neither a folder nor an embedded model"
    raise BundleError(f"{str(model)!r} {what}; embedded models: {', '.join(embedded()) or 'none'}")


def _parse(text: bytes, file: Path) -> Manifest:
    try:
        schema = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("schema", msgspec.Raw(b"none"))
        if bytes(schema) != b"%d" % SCHEMA:
            found = bytes(schema).decode()
            raise BundleError(
                f"{file} has schema {found}, this version reads {SCHEMA}; export it again or update declip-rt"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BundleError(f"{file} is not a bundle of schema {SCHEMA}: {error}") from error
    trust.check(manifest, file)
    names = [head.name for head in manifest.heads]
    if missing := {"technical", "aesthetic"} - set(names):
        raise BundleError(f"{file} lacks the head {' and '.join(sorted(missing))}")
    if len(set(names)) < len(names):
        raise BundleError(f"{file} names a head twice")
    if manifest.calibration and (unknown := manifest.calibration.mos.keys() - set(names)):
        raise BundleError(f"{file} has a map to MOS for {min(unknown)!r}, which is no head of it")
    if any(Path(part.file).name != part.file for part in manifest.files):
        raise BundleError(f"{file} names a file outside its folder")
    if not manifest.graphs:
        raise BundleError(f"{file} names no graph")
    if (half := manifest.graphs.get("bf16")) and half.sha256 != getattr(manifest.graphs.get("fp32"), "sha256", None):
        raise BundleError(f"{file} has a bf16 graph that is not its fp32 graph; export it again")
    return manifest

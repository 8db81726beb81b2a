"""Tables of results, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from declip_rt.model.manifest import Estimate
from train.findings import Finding

Cell = str | int | float | Estimate


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; `note` says what was measured and how, `findings` what follows from it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    findings: tuple[Finding, ...] = ()

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.note, "", _line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([*lines, *(_line([_text(cell) for cell in row]) for row in self.rows)]) + "\n"

    def csv(self) -> str:
        """One line a row; an estimate takes three columns: its value and its interval."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        wide = {i for row in self.rows for i, cell in enumerate(row) if isinstance(cell, Estimate)}
        names = [[name, f"{name} low", f"{name} high"] if i in wide else [name] for i, name in enumerate(self.columns)]
        writer.writerow([name for group in names for name in group])
        for row in self.rows:
            cells = [_parts(cell) if i in wide else [cell] for i, cell in enumerate(row)]
            writer.writerow([cell for group in cells for cell in group])
        return out.getvalue()


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell) -> str:
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _parts(cell: Cell) -> list[Cell]:
    return [cell.value, cell.low, cell.high] if isinstance(cell, Estimate) else [cell, "", ""]

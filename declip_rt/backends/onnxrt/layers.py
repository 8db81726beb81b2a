"""The nodes of an ONNX graph, as ONNX Runtime's profile tells."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from declip_rt.backends.layers import Layer

KERNEL = "_kernel_time"  # ends the names of what nodes took


class _Event(msgspec.Struct):
    name: str
    cat: str
    ts: int  # when it began, and
    dur: int  # how long it took, in µs
    args: dict[str, Any]


def read_profile(file: Path, skip: int) -> tuple[int, dict[str, float], dict[str, Layer]]:
    """How many runs there were but for the first `skip`, the ms of each node in all of them, and what it is."""
    events = msgspec.json.decode(file.read_bytes(), type=list[_Event])
    runs = sorted(each.ts for each in events if each.name == "model_run")[skip:]
    totals, known = defaultdict[str, float](float), {}
    for each in events:
        if each.cat == "Node" and each.name.endswith(KERNEL) and each.ts >= runs[0]:
            kind = each.args["op_name"]
            name = each.name.removesuffix(KERNEL) or f"{kind} {each.args['node_index']}"
            totals[name] += each.dur / 1e3
            known[name] = Layer(name, kind, format=_format(each.args))
    return len(runs), totals, known


def _format(args: dict[str, Any]) -> str:
    """The type and the shape of the first output."""
    gives: dict[str, Any] = next(iter(args.get("output_type_shape", ())), {})
    return " ".join(f"{kind} {'x'.join(map(str, shape))}".strip() for kind, shape in gives.items())

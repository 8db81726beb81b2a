"""What is measured by `benchmarks.peers`: declip-rt, what users would write instead, and the limit of JPEG decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from declip_rt import Bundle, Scorer
from declip_rt.images.decode import Encoded
from declip_rt.images.jpeg import Scratch
from declip_rt.images.views import box_of
from declip_rt.model.manifest import ViewSpec
from declip_rt.stats import cores

BATCH = 32  # of the DataLoader
Score = Callable[[Sequence[str]], list[float]]  # paths -> technical scores
Contender = Callable[[Path, Path], Score]  # of a checkpoint, and of the bundle exported from it


def by_pillow(path: str, spec: ViewSpec) -> np.ndarray:
    """(V, S, S, 3), as one would write it."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    side = spec.size
    boxes = [box_of(placement, side, *rgb.size) for placement in spec.placements]
    return np.stack([np.asarray(rgb.resize((side, side), Image.Resampling.BICUBIC, box)) for box in boxes])


def torch_loop(checkpoint: Path, _: Path, *, half: bool = False) -> Score:
    """half: by bf16 autocast."""
    import torch

    from train.model import load

    config, model, _ = load(checkpoint)
    model.eval()

    @torch.inference_mode()
    def score(paths: Sequence[str]) -> list[float]:
        pixels = (torch.from_numpy(by_pillow(path, config.views))[None] for path in paths)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return [float(model(some)[0][0, 0]) for some in pixels]

    return score


def torch_loader(
    checkpoint: Path, _: Path, *, compiled: bool = False, device: str = "cpu", workers: int = 2, half: bool = False
) -> Score:
    """On a GPU by FP16 autocast, from pinned memory. half: on a CPU by bf16 autocast."""
    import torch

    from train.model import load

    config, model, _ = load(checkpoint)
    model, on_gpu = model.eval().to(device), device != "cpu"
    forward = torch.compile(model, dynamic=False) if compiled else model

    class Photos(torch.utils.data.Dataset):
        def __init__(self, paths: Sequence[str]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, i: int) -> torch.Tensor:
            return torch.from_numpy(by_pillow(self.paths[i], config.views))

    @torch.inference_mode()
    def score(paths: Sequence[str]) -> list[float]:
        loader = torch.utils.data.DataLoader(Photos(paths), BATCH, num_workers=workers, pin_memory=on_gpu)
        scores = []
        for pixels in loader:
            with torch.autocast(device, torch.float16 if on_gpu else torch.bfloat16, enabled=on_gpu or half):
                scores.append(forward(pixels.to(device, non_blocking=True))[0][:, 0])
        return [float(value) for some in scores for value in some.cpu()]

    return score


def clipiqa(_: Path, __: Path) -> Score:
    """pyiqa's CLIP-IQA, RN50 at the photo's own resolution; with random weights, since only its speed counts."""
    import open_clip
    import pyiqa
    from pyiqa.archs import clip_model, clipiqa_arch

    clipiqa_arch.load = lambda *_: clip_model.build_model(open_clip.create_model("RN50").state_dict()).float()
    metric = pyiqa.create_metric("clipiqa", device="cpu")
    return lambda paths: [float(metric(path)) for path in paths]


def by_hand(run: Callable[[np.ndarray], np.ndarray], spec: ViewSpec) -> Score:
    """run: pixels -> scores (n, K), in batches of 8."""

    def score(paths: Sequence[str]) -> list[float]:
        scores: list[float] = []
        for first in range(0, len(paths), 8):
            pixels = np.stack([by_pillow(path, spec) for path in paths[first : first + 8]])
            scores += run(pixels)[:, 0].tolist()
        return scores

    return score


def onnx_by_hand(_: Path, bundle: Path) -> Score:
    import onnxruntime

    opened = Bundle(bundle)
    session = onnxruntime.InferenceSession(str(opened.graph()), providers=["CPUExecutionProvider"])
    return by_hand(lambda pixels: session.run(["scores"], {"pixels": pixels})[0], opened.views)


def openvino_by_hand(_: Path, bundle: Path, hint: str) -> Score:
    from declip_rt.extras import load

    opened, openvino = Bundle(bundle), load("openvino")  # which loads it without its telemetry
    compiled = openvino.compile_model(str(opened.graph()), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return by_hand(lambda pixels: compiled({"pixels": pixels})["scores"], opened.views)


def ours(_: Path, bundle: Path, device: str = "cpu", **options: str) -> Score:
    scorer = Scorer(bundle, device, icc=False, **options)  # type: ignore[arg-type]  # peers pass over profiles, too
    return lambda paths: [score.technical for score in scorer.score_many(paths)]


def decoding(_: Path, __: Path) -> Score:
    """No scores, and no views: what a runtime that decodes whole JPEGs cannot surpass."""
    scratch = Scratch()

    def score(paths: Sequence[str]) -> list[float]:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda path: Encoded(Path(path).read_bytes()).decode(scratch=scratch).width, paths))
        return []

    return score


OURS = "declip-rt"
CLIPIQA = "pyiqa's clipiqa, RN50"
LIMIT = "decoding alone, libjpeg-turbo on all cores"
CONTENDERS: dict[str, Contender] = {
    "torch and Pillow in a loop, batch 1": torch_loop,
    "torch DataLoader, 2 workers, batch 32": torch_loader,
    "the same, torch.compile": lambda *paths: torch_loader(*paths, compiled=True),
    "torch and Pillow in a loop, batch 1, bf16 autocast": lambda *paths: torch_loop(*paths, half=True),
    "torch DataLoader, 2 workers, batch 32, bf16 autocast": lambda *paths: torch_loader(*paths, half=True),
    "the same, torch.compile, bf16 autocast": lambda *paths: torch_loader(*paths, compiled=True, half=True),
    CLIPIQA: clipiqa,
    "ONNX Runtime by hand, Pillow, batch 8": onnx_by_hand,
    "OpenVINO by hand, Pillow, batch 8": lambda *paths: openvino_by_hand(*paths, hint="f32"),
    "OpenVINO by hand, Pillow, batch 8, bf16": lambda *paths: openvino_by_hand(*paths, hint="bf16"),
    f"{OURS}, fp32": lambda *paths: ours(*paths, precision="fp32"),
    f"{OURS}, fp32, --decode-scale auto": lambda *paths: ours(*paths, precision="fp32", decode_scale="auto"),
    f"{OURS}, int8": lambda *paths: ours(*paths, precision="int8"),
    f"{OURS}, int8, --decode-scale auto": lambda *paths: ours(*paths, precision="int8", decode_scale="auto"),
    f"{OURS}, OpenVINO, fp32": lambda *paths: ours(*paths, device="openvino", precision="fp32"),
    f"{OURS}, OpenVINO, bf16": lambda *paths: ours(*paths, device="openvino", precision="bf16"),
    f"{OURS}, OpenVINO, int8": lambda *paths: ours(*paths, device="openvino", precision="int8"),
    f"{OURS}, OpenVINO, int8, --decode-scale auto": lambda *paths: ours(
        *paths, device="openvino", precision="int8", decode_scale="auto"
    ),
    LIMIT: decoding,
}

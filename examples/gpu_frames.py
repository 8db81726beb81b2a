"""Scores frames that are on a GPU already, of each library that is installed: `python examples/gpu_frames.py`.

No pixel passes through the host. Each score waits for the stream on which the frame is written.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from declip_rt import DeclipError, Scorer

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"


def of_torch(scorer: Scorer, rgb: np.ndarray) -> float:
    """torch says on which stream a tensor is written: its current one."""
    import torch

    with torch.cuda.stream(torch.cuda.Stream()):
        frame = torch.from_numpy(rgb).cuda(non_blocking=True)
        return scorer.score(frame).technical


def of_cupy(scorer: Scorer, rgb: np.ndarray) -> float:
    """So does CuPy."""
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        return scorer.score(cupy.asarray(rgb)).technical


def of_numba(scorer: Scorer, rgb: np.ndarray) -> float:
    """numba is told its stream, and so are we."""
    from numba import cuda

    stream = cuda.stream()
    return scorer.score(cuda.to_device(rgb, stream=stream), stream=stream).technical


def of_pycuda(scorer: Scorer, rgb: np.ndarray) -> float:
    """pycuda shares the primary context by `autoprimaryctx`; memory of `autoinit` is of a context of its own."""
    import pycuda.autoprimaryctx  # noqa: F401
    from pycuda import driver, gpuarray

    stream = driver.Stream()
    return scorer.score(gpuarray.to_gpu_async(rgb, stream=stream), stream=stream).technical


LIBRARIES: dict[str, Callable[[Scorer, np.ndarray], float]] = {
    "torch": of_torch,
    "cupy": of_cupy,
    "numba": of_numba,
    "pycuda": of_pycuda,
}


def main() -> int:
    rgb = np.asarray(Image.open(PHOTO).convert("RGB")).copy()
    try:
        scorer = Scorer(device="tensorrt" if importlib.util.find_spec("tensorrt") else "cuda")
    except DeclipError as error:
        print(f"no frames are scored: {error}")
        return 1
    with scorer:
        print(f"{scorer.score(PHOTO).technical:.4f}  from its file")
        for name, score in LIBRARIES.items():
            if importlib.util.find_spec(name) is None:
                print(f"        {name} is not installed")
            else:
                print(f"{score(scorer, rgb):.4f}  of {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

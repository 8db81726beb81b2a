"""declip-rt: perceptual and semantic image quality (DeCLIP).

from declip_rt import Scorer

with Scorer() as scorer:
    print(scorer.score("photo.jpg").technical)
"""

from typing import Any

from declip_rt.backends.contract import EngineInfo
from declip_rt.errors import (
    BundleError,
    ConfigError,
    DeclipError,
    EngineError,
    ImageError,
    OutOfMemory,
    ParityError,
    Unavailable,
)
from declip_rt.images.load import Frame, ImageLike, OnStream
from declip_rt.model.bundle import Bundle
from declip_rt.model.manifest import Head
from declip_rt.prompts import Prompts
from declip_rt.score import Embedding, Score
from declip_rt.scorer import Scorer
from declip_rt.video.events import Event
from declip_rt.video.scorer import VideoScore, VideoScorer

__all__ = [
    "Bundle",
    "BundleError",
    "ConfigError",
    "DeclipError",
    "Embedding",
    "EngineError",
    "EngineInfo",
    "Event",
    "Frame",
    "Head",
    "ImageError",
    "ImageLike",
    "OnStream",
    "OutOfMemory",
    "ParityError",
    "Prompts",
    "Score",
    "Scorer",
    "Unavailable",
    "VideoScore",
    "VideoScorer",
]


def __getattr__(name: str) -> Any:
    """`__version__`, which only who asks for it waits for."""
    if name == "__version__":
        from declip_rt.extras import own_version

        return own_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

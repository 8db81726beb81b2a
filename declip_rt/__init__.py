"""declip-rt: perceptual and semantic image quality (DeCLIP).

from declip_rt import Scorer

with Scorer() as scorer:
    print(scorer.score("photo.jpg").technical)
"""

from declip_rt.errors import BundleError, ConfigError, DeclipError, EngineError, ImageError
from declip_rt.model.bundle import Bundle
from declip_rt.prompts import Prompts
from declip_rt.score import Embedding, Score
from declip_rt.scorer import Scorer

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleError",
    "ConfigError",
    "DeclipError",
    "Embedding",
    "EngineError",
    "ImageError",
    "Prompts",
    "Score",
    "Scorer",
    "__version__",
]

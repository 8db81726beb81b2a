"""Distortions of known kind and strength, after the taxonomy of KADID-10k (Lin et al., 2019)."""

from train.distortions.kind import RGB, Distortion, Kind
from train.distortions.kinds import KINDS, QUALITIES, STRENGTHS, distort, ladder

__all__ = ["KINDS", "QUALITIES", "RGB", "STRENGTHS", "Distortion", "Kind", "distort", "ladder"]

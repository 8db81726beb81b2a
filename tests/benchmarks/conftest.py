"""The fixtures of tests that measure."""

from tests.training import checkpoint, full_size, recipe, vit

__all__ = ["checkpoint", "full_size", "recipe", "vit"]

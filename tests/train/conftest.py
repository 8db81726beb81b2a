"""The fixtures of tests that train."""

from tests.training import checkpoint, loaded, recipe

__all__ = ["checkpoint", "loaded", "recipe"]

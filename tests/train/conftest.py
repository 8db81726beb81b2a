"""The fixtures of tests that train."""

from tests.training import checkpoint, recipe

__all__ = ["checkpoint", "recipe"]

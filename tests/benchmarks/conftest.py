"""The fixtures of tests that measure."""

from tests.training import checkpoint, full_size, recipe

__all__ = ["checkpoint", "full_size", "recipe"]

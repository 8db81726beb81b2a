"""Exports a checkpoint of `train` as a bundle. `python -m export CHECKPOINT --out BUNDLE`."""

"""From a checkpoint of `train` to a bundle. `python -m export CHECKPOINT --out BUNDLE`."""

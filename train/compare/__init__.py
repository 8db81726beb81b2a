"""CLIP against DeCLIP: what can be read from a model's coarse, perceptual and semantic features, on unseen photos.

Each module makes one table of `python -m benchmarks.accuracy`, and the findings that follow from it.
"""

"""I&2T data: images, each with a perceptual text (how it looks) and a semantic text (what it shows)."""

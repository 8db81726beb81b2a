"""Train DeCLIP: I&2T data, projectors, quality heads. `python -m train.run CONFIG.toml --data DIR --out RUN`."""

"""The folder of a run: its config, checkpoints, logs and lock."""

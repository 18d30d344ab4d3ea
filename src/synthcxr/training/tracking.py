"""What a run logs, handed to TensorBoard or Weights & Biases as well."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError
from synthcxr.store import Json, sha256_bytes

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}
FOLDER = "tensorboard"


def check_tracker(name: str | None) -> None:
    """Raise UsageError where a tracker's package is not installed."""
    if name and find_spec(PACKAGES[name]) is None:
        raise UsageError(f"--track {name} needs the package {PACKAGES[name]}: pip install 'synthcxr[track]'.")


class Tracker:
    """Sends rows of figures on, each step once: only what a checkpoint holds is sent, so that nothing comes twice.

    TensorBoard's files lie in the run's folder. Weights & Biases gets settings and figures, no image, no command
    line and no path; its own environment variables (WANDB_MODE, WANDB_DIR, …) hold.
    """

    def __init__(self, name: str | None, folder: Path, settings: Json, sent_to: int) -> None:
        self.sent_to = sent_to
        self.board: Any = None
        self.run: Any = None
        if name == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / FOLDER), purge_step=sent_to + 1)
        elif name == "wandb":
            import wandb

            identifier = sha256_bytes(str(folder.resolve()).encode())[:12]
            quiet = wandb.Settings(console="off", disable_git=True, disable_code=True, x_disable_meta=True)
            self.run = wandb.init(
                project="synthcxr",
                name=folder.resolve().name,
                id=identifier,
                resume="allow",
                config=settings,
                settings=quiet,
            )

    def send(self, rows: Sequence[Json]) -> None:
        """Send the rows of steps that were not sent before; several rows of one step go together."""
        for row in sorted(rows, key=lambda row: int(row["step"])):
            if row["step"] <= self.sent_to:
                continue
            figures = {key: value for key, value in row.items() if key != "step" and value is not None}
            if self.board:
                for key, value in figures.items():
                    self.board.add_scalar(key, value, row["step"])
            if self.run:
                self.run.log(figures, step=row["step"])
        if rows:
            self.sent_to = max(self.sent_to, *(int(row["step"]) for row in rows))
        if self.board:
            self.board.flush()

    def close(self) -> None:
        """End with all written."""
        if self.board:
            self.board.close()
        if self.run:
            self.run.finish()

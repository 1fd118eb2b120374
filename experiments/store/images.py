"""Figures as MLflow's page shows them among the charts of a run: names of their files, and small copies.

As `MlflowClient.log_image` writes them, for stores that are written without it. Knows files only.
"""

import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

FOLDER = "images"
TAG = {"mlflow.loggedImages": "True"}
SMALL_PIXELS = 256  # the longer side of a copy, as MLflow has it


def write_images(figures: Iterable[Path], folder: Path) -> None:
    """Write PNG figures among the artifacts of a run, in place of earlier ones."""
    from PIL import Image  # slow to import

    images = folder / FOLDER
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    for figure in figures:
        stem = f"{figure.stem}+step+0+timestamp+{time.time_ns() // 1_000_000}+{uuid.uuid4()}"
        shutil.copyfile(figure, images / f"{stem}.png")
        with Image.open(figure) as image:
            small = image.convert("RGB")
            small.thumbnail((SMALL_PIXELS, SMALL_PIXELS))
            small.save(images / f"{stem}+compressed.webp")

"""A run's page: how its loss went, what it showed on held-out patients, what it drew on the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from synthcxr import __version__
from synthcxr.images import read_grey
from synthcxr.report.charts import curves
from synthcxr.report.html import Figure, data_address
from synthcxr.store import Json, write_bytes

PAGE = "report.html"
DRAWN = ("Synthetic images below. Not of persons, not for diagnosis.", "The same prompts and seeds each time.")
REAL = (
    "This page shows X-rays of the dataset. Share it only as the dataset's terms allow.",
    "Held-out images, or where there are none training images, above their reconstructions.",
)
SHEETS = 6
SHEET_PIXELS = 1040


def write_run_report(
    folder: Path, log: Sequence[Json], evidence: Sequence[Json], alarms: Sequence[str], about: Json
) -> None:
    """Write ``report.html`` into a run's folder. `about` has ``config``, ``counts``, ``hours``, ``environment``."""
    write_bytes(folder / PAGE, render(folder, log, evidence, alarms, about).encode())


def render(folder: Path, log: Sequence[Json], evidence: Sequence[Json], alarms: Sequence[str], about: Json) -> str:
    """The page as text. Nothing in it is fetched from elsewhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    judged = [row for row in evidence if "frechet_distance" in row]
    shown = sheets(folder)
    banner, sheets_are = REAL if about["config"]["method"] == "autoencoder" else DRAWN
    return environment.get_template("run.html.jinja").render(
        version=__version__,
        name=folder.resolve().name,
        verdict=verdict(log, evidence, about),
        alarms=alarms,
        losses=loss_chart(log, evidence),
        looks=evidence,
        judged=judged[-1] if judged else None,
        distances=distance_chart(judged) if len(judged) > 1 else Markup(""),
        banner=banner if shown else "",
        sheets=shown,
        sheets_are=sheets_are,
        cost=cost(log, about),
        settings={key: value for key, value in about["config"].items() if value not in (None, "", [], False)},
    )


def verdict(log: Sequence[Json], evidence: Sequence[Json], about: Json) -> str:
    """The run in a sentence or two."""
    counts = about["counts"]
    text = (
        f"{counts['steps']:,} steps on {counts['images']:,} images of {counts['patients']:,} patients; "
        f"the training loss went from {log[0]['loss']:.3g} to {log[-1]['loss']:.3g}."
    )
    held_out = [row for row in evidence if "held_out_loss" in row]
    if held_out:
        best = min(held_out, key=lambda row: float(row["held_out_loss"]))
        text += f" On held-out patients it was lowest at step {best['step']:,} ({best['held_out_loss']:.3g})."
    judged = [row for row in evidence if "frechet_distance" in row]
    if judged:
        nearest = min(judged, key=lambda row: float(row["frechet_distance"]))
        text += f" Drawn images came nearest to theirs at step {nearest['step']:,} ({nearest['frechet_distance']:.3g})."
    return text


def loss_chart(log: Sequence[Json], evidence: Sequence[Json]) -> Markup:
    """Training loss, and held-out loss where it was looked at."""
    lines = {"training loss": [(row["step"], row["loss"]) for row in log]}
    held_out = [(row["step"], row["held_out_loss"]) for row in evidence if "held_out_loss" in row]
    return curves(lines | ({"held-out loss": held_out} if held_out else {}), "step", "Loss by step")


def distance_chart(judged: Sequence[Json]) -> Markup:
    """Fréchet distance over the looks."""
    line = {"Fréchet distance": [(row["step"], row["frechet_distance"]) for row in judged]}
    return curves(line, "step", "Fréchet distance by step")


def sheets(folder: Path) -> list[Figure]:
    """The last sample sheet and some before it, at even distances."""
    paths = sorted((folder / "samples").glob("step-*.png"))
    count = min(SHEETS, len(paths))
    chosen = [paths[len(paths) - 1 - number * len(paths) // count] for number in range(count)][::-1]
    steps = [int(path.stem.removeprefix("step-")) for path in chosen]
    return [
        Figure(data_address(read_grey(path), SHEET_PIXELS), f"Step {step:,}")
        for path, step in zip(chosen, steps, strict=True)
    ]


def cost(log: Sequence[Json], about: Json) -> dict[str, Any]:
    """Hours, images, speed, and on what."""
    environment = about["environment"]
    device = environment.get("device_name") or environment.get("device", "not stated")
    return {
        "Hours": f"{about['hours']:.2f}",
        "Images seen": f"{about['counts']['images_seen']:,}",
        "Images a second, at the end": log[-1]["images_per_second"],
        "Device": f"{device}, {environment.get('dtype', 'float32')}, {environment.get('processes', 1)} process(es)",
    }

"""The report's page: one self-contained HTML file over the whole road, pictures and charts inside."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from synthcxr import __version__
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey, UnreadableImageError, encode_png, read_grey, resize
from synthcxr.report.charts import curve, histograms, interval_bar
from synthcxr.report.story import Chapter, Story, read_story, removed_text
from synthcxr.store import read_jsonl, read_manifest, write_bytes

if TYPE_CHECKING:
    from synthcxr.evaluation.content import Content, Pair

SHEET_IMAGES = 24
THUMBNAIL = 128
PAGE = "index.html"

NAMES = {
    "frechet_distance": (
        "Fréchet distance",
        "how far the set lies from real X-rays as a whole; 0 is the same",
    ),
    "kid": ("Kernel distance", "the same question, without bias at small numbers"),
    "precision": ("Precision", "share of synthetic images that lie among the real ones"),
    "recall": ("Recall", "share of real images that the synthetic ones reach"),
    "density": ("Density", "how many real neighbourhoods a synthetic image lies in, 1 as real ones do"),
    "coverage": ("Coverage", "share of real images with a synthetic one nearby"),
    "near_copy_rate": ("Near-copies", "share nearer to a training image than 99 % of unseen patients are"),
    "nearest_real_distance": (
        "Distance to the nearest real image",
        "median; far below the floor means copies",
    ),
}


@dataclass(frozen=True)
class Figure:
    """A picture of the page: its data address, and the words under it."""

    source: str
    caption: str


def write_report(folder: Path, content: "Content") -> None:
    """Write ``index.html`` into the report's folder. Nothing in it is fetched from elsewhere."""
    synthetic, study = content.config["synthetic"], content.config.get("study")
    write_bytes(folder / PAGE, render(content, Path(synthetic), Path(study) if study else None).encode())


def render(content: "Content", synthetic: Path, study: Path | None) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    story = read_story(synthetic)
    return environment.get_template("page.html.jinja").render(
        version=__version__,
        content=content,
        verdict=verdict(content),
        metrics=[metric_row(metric) for metric in content.metrics],
        sheet=sheet(synthetic),
        pairs=[pair_figures(pair) for pair in content.pairs[:8]],
        distances=histograms(content.distances, content.threshold, "distance to the nearest image"),
        cleanings=[cleaning(chapter, content.config["show_removed_text"]) for chapter in story.of("clean")],
        trainings=[training(chapter) for chapter in story.of("train")],
        datasets=story.of("prepare"),
        drawings=story.of("generate"),
        study=reading(study) if study else None,
        story=story,
        methods=methods(content, story),
    )


def verdict(content: "Content") -> str:
    """The first figure in one sentence, beside what real patients give."""
    metric = next(metric for metric in content.metrics if metric["name"] == "frechet_distance")
    if metric["value"] is None:
        return f"The Fréchet distance could not be computed: {metric['reason']}"
    text = f"The Fréchet distance to real X-rays is {metric['value']:.3g}"
    if metric["ci_low"] is not None:
        text += f" (95 % interval {metric['ci_low']:.3g} to {metric['ci_high']:.3g})"
    text += f", at {metric['n_synthetic']} synthetic and {metric['n_real']} real images"
    if metric["floor"]:
        floor = metric["floor"]["median"]
        times = metric["value"] / floor if floor > 0 else float("inf")
        text += f"; two halves of the real patients are {floor:.3g} apart, so it is {times:.1f} times that"
    return text + "."


def metric_row(metric: dict[str, Any]) -> dict[str, Any]:
    """A metric as the table shows it."""
    name, meaning = NAMES.get(metric["name"], (metric["name"], ""))
    floor = metric.get("floor")
    bar = Markup("")
    if metric["value"] is not None:
        limits = (floor["low"], floor["high"]) if floor else None
        bar = interval_bar(metric["value"], metric["ci_low"], metric["ci_high"], limits)
    return {**metric, "title": name, "meaning": meaning, "bar": bar, "better": metric.get("better", "")}


def sheet(folder: Path) -> list[Figure]:
    """The first images of the set, in the order of their index: nobody chose them."""
    return [figure(row, row.text) for row in read_rows(folder)[:SHEET_IMAGES]]


def figure(image: Path | Row, caption: str, size: int = THUMBNAIL) -> Figure:
    """A thumbnail of an image file, or of a row's image; an unreadable one says so."""
    path = image.path if isinstance(image, Row) else image
    try:
        return Figure(data_address(image.read() if isinstance(image, Row) else read_grey(image), size), caption)
    except UnreadableImageError as error:
        return Figure("", str(error).replace(str(path), path.name))


def data_address(image: Grey, size: int) -> str:
    """An image inside a page, its long side at most `size` pixels."""
    height, width = image.shape
    scale = min(1.0, size / max(height, width))
    small = image if scale == 1 else resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return "data:image/png;base64," + base64.b64encode(encode_png(small, compress_level=9)).decode()


def pair_figures(pair: "Pair") -> dict[str, Any]:
    """A synthetic image and its neighbours, pictures only where the report may show them."""
    return {
        "synthetic": figure(pair.synthetic, pair.synthetic_label),
        "real": figure(pair.real, pair.real_label) if pair.real else Figure("", pair.real_label),
        "real_distance": pair.real_distance,
        "training": figure(pair.training, pair.training_label or "")
        if pair.training
        else Figure("", pair.training_label or ""),
        "training_distance": pair.training_distance,
    }


def cleaning(chapter: Chapter, before_too: bool) -> dict[str, Any]:
    """What a cleaning did: counts, and of a few images the mask and what is there now, on wish also what was."""
    before_folder = (chapter.folder / chapter.manifest["inputs"]["images"]["path"]).resolve()
    shown = []
    for proof in removed_text(chapter):
        image = Path(proof["split"]) / proof["file_name"]
        places = [chapter.folder / proof["mask"], chapter.folder / image]
        if before_too:
            places.insert(0, before_folder / image)
        shown.append([figure(place, proof["file_name"], 192) for place in places])
    return {
        "folder": chapter.folder.name,
        "kind": chapter.manifest["kind"],
        "counts": chapter.manifest["counts"],
        "shown": shown,
    }


def training(chapter: Chapter) -> dict[str, Any]:
    """A run: its loss curve and its last sample sheet."""
    log = read_jsonl(chapter.folder / "log.jsonl")
    sheets = sorted((chapter.folder / "samples").glob("*.png"))
    return {
        "folder": chapter.folder.name,
        "manifest": chapter.manifest,
        "curve": curve([row["step"] for row in log], [row["loss"] for row in log], "step", "Training loss")
        if len(log) > 1
        else "",
        "log": log[-1] if log else None,
        "sheet": figure(sheets[-1], "samples at fixed seeds", 520) if sheets else None,
    }


def reading(folder: Path) -> dict[str, Any]:
    """A reader study: its plan, and its figures where answers are in."""
    from synthcxr.config import StudyAnalyzeConfig
    from synthcxr.study.analyze import COLUMNS, analyze

    manifest = read_manifest(folder, "study")
    analysis = analyze(StudyAnalyzeConfig(study=folder)) if manifest["counts"].get("answers") else None
    return {
        "folder": folder.name,
        "counts": manifest["counts"],
        "notes": manifest.get("notes", []),
        "columns": COLUMNS,
        "rows": analysis.rows() if analysis else [],
        "remarks": analysis.notes if analysis else (),
    }


def methods(content: "Content", story: Story) -> str:
    """A paragraph for a paper, of what was really done."""
    real, synthetic = content.sides["real"] or {}, content.sides["synthetic"] or {}
    encoder = content.encoder
    parts = [
        f"{synthetic.get('n')} synthetic chest X-rays were compared with {real.get('n')} real ones of "
        f"{real.get('patients')} patients ({real.get('name')}, {real.get('split')} split) with synthcxr {__version__}."
    ]
    for chapter in story.of("generate"):
        config = chapter.manifest["config"]
        parts.append(
            f"They were drawn in {config['steps']} steps ({config['scheduler']}) at a guidance scale of "
            f"{config['guidance']}, set seed {config['seed']}."
        )
    parts.append(
        f"Distances are taken on the {encoder['dimension']} features of {encoder['name']} "
        f"(SHA-256 {encoder['sha256'][:12]}; {encoder['preprocessing']}). The Fréchet distance is not the FID, which "
        "is defined on Inception features. Near-copies are searched by the same encoder's identity. "
        "Intervals of distances are jackknife intervals over 20 groups of patients, "
        "of shares Wilson intervals; the floor is the distance between two halves of the real patients."
    )
    return " ".join(parts)

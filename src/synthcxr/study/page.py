"""The report of a reading: one self-contained page, and beside it the figures and tables for other programs."""

from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from synthcxr import __version__
from synthcxr.config import StudyAnalyzeConfig
from synthcxr.devices import describe
from synthcxr.report.html import Figure, figure
from synthcxr.store import describe_input, open_output, write_bytes, write_json
from synthcxr.study import exports
from synthcxr.study.amending import UNBLINDED, read_amendments
from synthcxr.study.analyze import Analysis, fingerprint
from synthcxr.study.folder import IMAGES, Study
from synthcxr.study.looks import ALL_FOOLED, CALLED_FAKE
from synthcxr.study.methods import methods, references
from synthcxr.study.readings import COLUMNS
from synthcxr.study.serving.database import SERVED, read_simulated

MOST_PICTURES = 48
CAPTIONS = {ALL_FOOLED: "Synthetic images that fooled everybody", CALLED_FAKE: "Real images that were called synthetic"}


def write_analysis(config: StudyAnalyzeConfig, analysis: Analysis) -> Path:
    """Write the report's folder: ``index.html``, ``analysis.json``, ``answers.csv`` and, where they apply,
    ``ratings.csv`` and ``answers.imrmc``. Raises UsageError where `out` holds another analysis."""
    assert config.out is not None
    study, material = analysis.study, analysis.material
    identity = config.identity() | {"answers": fingerprint(study)}
    with open_output(config.out, "report", identity, overwrite=config.overwrite, inputs=[study.folder]) as output:
        if output.finished:
            return config.out
        write_json(output.folder / "analysis.json", analysis.to_json())
        write_bytes(output.folder / "answers.csv", exports.long_table(material))
        if material.ratings:
            write_bytes(output.folder / "ratings.csv", exports.rating_table(material))
        if material.calls:
            write_bytes(output.folder / "answers.imrmc", exports.imrmc(material, title(study)))
        write_bytes(output.folder / "index.html", render(analysis).encode())
        return output.finish(
            inputs={"study": describe_input(study.folder, output.folder)},
            counts={"readers": len({a.reader for a in study.answers}), "answers": len(study.answers)},
            environment=describe(),
            notes=analysis.notes,
        )


def title(study: Study) -> str:
    """What the report is called."""
    return study.protocol.title if study.protocol and study.protocol.title else f"Reader study {study.folder.name}"


def render(analysis: Analysis) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    study = analysis.study
    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    amendments = [row for row in read_amendments(study.folder) if row["what"] != UNBLINDED]
    looked = [note for note in analysis.notes if note.startswith(("Results were looked at", "Not all readers"))]
    return environment.get_template("study.html.jinja").render(
        version=__version__,
        title=title(study),
        folder=study.folder.name,
        analysis=analysis,
        simulated=read_simulated(study.folder / SERVED) is not None,
        looked=looked,
        notes=[note for note in analysis.notes if note not in looked],
        forest=forest(analysis),
        columns=COLUMNS,
        rows=analysis.rows(),
        sections=[section for section in analysis.sections if section.name != "comments"],
        pictures=pictures(analysis),
        comments=comments(analysis),
        protocol=study.protocol,
        amendments=amendments,
        rated=bool(analysis.material.ratings),
        methods=methods(analysis),
        references=references(analysis),
    )


def picture(study: Study, image: str, caption: str) -> Figure:
    """A thumbnail of a study's image; without the file, as for answers from elsewhere, its name alone."""
    path = study.folder / IMAGES / image
    return figure(path, caption) if path.is_file() else Figure("", caption)


def pictures(analysis: Analysis) -> dict[str, list[Figure]]:
    """The images that fooled everybody, and the real ones that were called synthetic, where the images are here."""
    found: dict[str, list[Figure]] = {caption: [] for caption in CAPTIONS.values()}
    section = next((section for section in analysis.sections if section.name == "images"), None)
    for image, entry in (section.values if section else {}).items():
        shown = found.get(CAPTIONS.get(entry["what"], ""))
        if shown is not None and len(shown) < MOST_PICTURES and (analysis.study.folder / IMAGES / image).is_file():
            caption = f"{image}: called synthetic by {entry['called_synthetic']} of {entry['of']}"
            shown.append(picture(analysis.study, image, caption))
    return found


def comments(analysis: Analysis) -> list[dict[str, Any]]:
    """The comments, image by image, beside the image."""
    found: dict[str, dict[str, Any]] = {}
    section = next(section for section in analysis.sections if section.name == "comments")
    for line in section.values["comments"]:
        image = line["image"]
        if image not in found:
            found[image] = {"figure": picture(analysis.study, image, f"{image}, {line['truth']}"), "lines": []}
        found[image]["lines"].append(line)
    return list(found.values())


def forest(analysis: Analysis) -> Markup:
    """Every reader's accuracy and that over all readers, as points with intervals from 0 to 1."""
    lines = [(r.reader, r.accuracy.value, r.accuracy.ci_low, r.accuracy.ci_high, False) for r in analysis.readers]
    section = next((section for section in analysis.sections if section.name == "mrmc"), None)
    total = section.values.get("accuracy") if section else None
    if total and total["readers"] > 1:
        lines.append(("over all readers", total["value"], total["ci_low"], total["ci_high"], True))
    if not lines:
        return Markup("")
    left, right, step = 150, 540, 22
    height = step * len(lines) + 34

    def x(value: float) -> float:
        return left + value * (right - left)

    body = f'<line class="threshold" x1="{x(0.5)}" y1="4" x2="{x(0.5)}" y2="{height - 26}"/>'
    body += f'<line class="axis" x1="{left}" y1="{height - 24}" x2="{right}" y2="{height - 24}"/>'
    for mark in (0, 0.25, 0.5, 0.75, 1):
        body += f'<text x="{x(mark)}" y="{height - 8}" text-anchor="middle">{mark:g}</text>'
    for number, (name, value, low, high, whole) in enumerate(lines):
        y = 14 + step * number
        body += f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(name[:22])}</text>'
        if value is not None and low is not None and high is not None:
            width = 4 if whole else 2
            ends = f'x1="{x(low):.1f}" y1="{y}" x2="{x(high):.1f}" y2="{y}"'
            body += f'<line {ends} stroke="#2f6f9f" stroke-width="{width}"/>'
            body += f'<circle cx="{x(value):.1f}" cy="{y}" r="{5 if whole else 4}" fill="#2f6f9f"/>'
    label = "Accuracy of every reader with its interval"
    return Markup(f'<svg viewBox="0 0 560 {height}" role="img" aria-label="{label}" class="chart">{body}</svg>')

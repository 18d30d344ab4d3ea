"""A paragraph for a paper, of what was really done, and the sources that it rests on, as BibTeX."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr import __version__
from synthcxr.report.story import Story

if TYPE_CHECKING:
    from synthcxr.evaluation.content import Content

Sentence = tuple[str, tuple[str, ...]]
"""A sentence and the keys of its sources."""


BIBLIOGRAPHY = Path(__file__).parent / "references.bib"


@cache
def sources() -> dict[str, str]:
    """The BibTeX entries that ship, by key."""
    entries = BIBLIOGRAPHY.read_text(encoding="utf-8").strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def methods(content: "Content", story: Story) -> str:
    """The paragraph, with numbers that point into `references`."""
    sentences = list(_sentences(content, story))
    numbers = {key: number for number, key in enumerate(_used(sentences), 1)}
    return " ".join(
        f"{text} [{', '.join(str(numbers[key]) for key in keys)}]" if keys else text for text, keys in sentences
    )


def references(content: "Content", story: Story) -> list[str]:
    """BibTeX of the sources, in the order of their first use."""
    return [sources()[key] for key in _used(list(_sentences(content, story)))]


def _used(sentences: list[Sentence]) -> list[str]:
    return list(dict.fromkeys(key for _, keys in sentences for key in keys))


def _sentences(content: "Content", story: Story) -> list[Sentence]:
    asked = {answer.question for answer in content.answers}
    found = [*_sides(content, story)]
    for question, sentences in (
        ("realism", _realism),
        ("faithfulness", _faithfulness),
    ):
        if question in asked:
            found += sentences(content)
    found.append(
        (
            "Intervals are 95 % intervals; those of distances are delete-a-group jackknife intervals over 20 groups of "
            "patients a side, those of shares Wilson’s.",
            ("busing1999", "wilson1927"),
        )
    )
    return found


def _sides(content: "Content", story: Story) -> list[Sentence]:
    real, synthetic = content.sides["real"] or {}, content.sides["synthetic"] or {}
    training = content.sides["training"]
    words = (
        f"{synthetic['n']:,} synthetic chest X-rays were compared with {real['n']:,} real ones of "
        f"{real['patients']:,} patients ({real['name']}, {real['split']} split) with synthcxr {__version__}"
    )
    words += f"; the model was trained on {training['n']:,} images ({training['name']})." if training else "."
    found: list[Sentence] = [(words, ())]
    for chapter in story.of("generate"):
        config = chapter.manifest["config"]
        found.append(
            (
                f"They were drawn in {config['steps']} steps ({config['scheduler']}) at a guidance scale of "
                f"{config['guidance']}, set seed {config['seed']}.",
                (),
            )
        )
    return found


def _realism(content: "Content") -> list[Sentence]:
    encoder = content.encoder
    found: list[Sentence] = [
        (
            f"Realism was measured on the {encoder['dimension']} features of {encoder['name']} (SHA-256 "
            f"{encoder['sha256'][:12]}; {encoder['preprocessing']}) as the Fréchet distance, which on these features "
            "is not the FID,",
            ("heusel2017",),
        ),
        (
            "its extrapolation to endless images, from halves of the images that share none,",
            ("chong2020",),
        ),
        ("the unbiased kernel distance,", ("binkowski2018",)),
        ("precision and recall,", ("kynkaanniemi2019",)),
        (
            f"and density and coverage (k = {content.config['neighbours']}).",
            ("naeem2020",),
        ),
        ("The floor is the same figure between two halves of the real patients, over 20 halvings.", ()),
    ]
    if content.figure("fid"):
        found.append(
            ("The FID was taken on Inception’s pool3 with antialiased resizing.", ("heusel2017", "parmar2022"))
        )
    if content.figure("frechet_distance_rad_dino"):
        found.append(("Distances were also taken on Rad-DINO’s features.", ("perezgarcia2025",)))
    return found


def _faithfulness(content: "Content") -> list[Sentence]:
    figure: dict[str, Any] = next((each for each in content.metrics if each.get("classifier")), {})
    if not figure:
        return []
    return [
        (
            f"Faithfulness to the prompts was judged by {figure['classifier']} (SHA-256 "
            f"{figure['classifier_sha256'][:12]}) as the area under the ROC curve, with DeLong’s variance "
            "(within patients Obuchowski’s) on the logit’s scale, beside the same classifier on the real images.",
            ("delong1988", "obuchowski1997"),
        )
    ]

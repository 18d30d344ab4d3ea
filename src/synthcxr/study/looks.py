"""Image by image: which synthetic ones fooled everybody, which real ones were called fake, what readers wrote."""

from collections import defaultdict

from synthcxr.study.answers import Answer
from synthcxr.study.material import Material, Section
from synthcxr.study.readings import POSITIVE

ALL_FOOLED, ALL_SEEN, CALLED_FAKE = "fooled everybody", "seen by everybody", "called synthetic"


def image_section(material: Material) -> Section:
    """Every image that says something: synthetic ones nobody or everybody saw, real ones that were called synthetic."""
    given: dict[str, list[Answer]] = defaultdict(list)
    for answer in material.calls:
        given[answer.image].append(answer)
    rows, values = [], {}
    for image, answers in given.items():
        fake = sum(answer.answer == POSITIVE for answer in answers)
        kind = material.truth[image]
        if kind == POSITIVE and fake not in (0, len(answers)):
            continue
        if kind != POSITIVE and fake == 0:
            continue
        what = CALLED_FAKE if kind != POSITIVE else ALL_FOOLED if fake == 0 else ALL_SEEN
        source = str(material.study.rows.get(image, {}).get("source", ""))
        values[image] = {"truth": kind, "what": what, "called_synthetic": fake, "of": len(answers), "source": source}
        rows.append((image, kind, what, f"{fake} of {len(answers)}", source))
    order = (ALL_FOOLED, CALLED_FAKE, ALL_SEEN)
    rows.sort(key=lambda row: (order.index(row[2]), -int(row[3].split()[0]), row[0]))
    columns = ("image", "truth", "what", "called synthetic", "source")
    shown = [row for row in rows if row[2] != ALL_SEEN]
    return Section("images", "Images that fooled readers", columns, shown, {row[0]: values[row[0]] for row in rows})


def comment_section(material: Material) -> Section:
    """What readers wrote, image by image, with their answer."""
    said = (*material.calls, *material.ratings, *material.pairs, *material.repeats)
    written = sorted((a for a in said if a.comment), key=lambda a: (a.image, a.reader))
    rows = [(a.image, material.truth.get(a.image, "unknown"), a.reader, answer_text(a), a.comment) for a in written]
    values = [dict(zip(("image", "truth", "reader", "answer", "comment"), row, strict=True)) for row in rows]
    return Section(
        "comments", "Comments", ("image", "truth", "reader", "answer", "comment"), rows, {"comments": values}
    )


def answer_text(answer: Answer) -> str:
    """An answer in few words."""
    if answer.ratings:
        return ", ".join(f"{name} {step}" for name, step in answer.ratings.items())
    return answer.answer or ""

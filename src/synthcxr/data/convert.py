"""What a worker does to one record: open, check, look for burned-in text, write a prompt, resize, write the PNG."""

import random
from dataclasses import dataclass, replace
from pathlib import Path

from synthcxr.buckets import bucket_for
from synthcxr.config import PrepareConfig
from synthcxr.data.burned_in import BurnedIn, check_burned_in
from synthcxr.data.gate.duplicates import fingerprint
from synthcxr.data.gate.pixels import check_image, thumbnail
from synthcxr.data.naming import Link, Naming
from synthcxr.data.records import Picture, Reader, Record, RejectedImageError
from synthcxr.data.reports import NoPrompt, Prompt, load_report, prompt_of
from synthcxr.data.reports.deidentification import BLANK, black_out
from synthcxr.data.reports.tokens import TokenCounter
from synthcxr.data.splits import split_of
from synthcxr.imagefolder import SPLITS
from synthcxr.images import Grey, Size, UnreadableImageError, cover, encode_png, to_square
from synthcxr.seeds import seed_for
from synthcxr.store import Json, write_bytes

OPTIONAL = (
    "study_id",
    "pixel_spacing_mm",
    "burned_in_text",
    "prompt_style",
    "findings_unsaid",
    "official_split",
    "notes",
)
"""Fields of a row that a dataset has only where one of its images has them.

Texts are empty, not null, where an image has none: `datasets` takes nulls all over one split for a type of their own.
"""


SHOWS_TEXT = ("burned-in-text", "text-only")
"""Rules that leave out images with text that may name the patient."""


@dataclass(frozen=True)
class Converter:
    """One source and one config: what every worker needs.

    `folder` takes the PNGs, `thumbnails` small pictures of the rejected.
    """

    root: Path
    read: Reader
    config: PrepareConfig
    naming: Naming
    count_tokens: TokenCounter
    skipped: frozenset[str]
    folder: Path
    thumbnails: Path

    def __call__(self, record: Record) -> "Outcome":
        """Write the image of a record, and say what came of it."""
        image: Grey | None = None
        try:
            picture = self.read(self.root, record, self.config)
            record = replace(picture.record, subject=self.naming.subject(picture.record.subject))
            image = picture.image
            return self._accept(replace(picture, record=record))
        except RejectedImageError as error:
            return self.refuse(record, error.rule, str(error), image)
        except UnreadableImageError as error:
            return self.refuse(record, "unreadable", str(error))

    def _accept(self, picture: Picture) -> "Outcome":
        config, record = self.config, picture.record
        check_image(picture.image, self.skipped)
        prompt = self._prompt(record)
        burned_in = check_burned_in(picture.image, config.burned_in)
        name = self.naming.output(record.name)
        written = to_size(burned_in.image, config)
        data = encode_png(written)
        write_bytes(self.folder / name, data, durable=False)
        entry: Json = {
            "row": self._row(picture, prompt, burned_in, (written.shape[0], written.shape[1])),
            "split": split_of(record.patient_id or record.name, config.split_percent()),
            "fingerprint": fingerprint(burned_in.image),
            "bytes": len(data),
            "tokens": self.count_tokens(prompt.text),
        }
        return Outcome(entry, self.naming.links(record))

    def _prompt(self, record: Record) -> Prompt:
        config = self.config
        rng = random.Random(seed_for("prompt", record.name))
        record = load_report(self.root, record)
        if self.naming.key is not None:
            blank_free = " ".join(black_out(record.text).replace(BLANK, " ").split())
            record = replace(record, report=black_out(record.report), text=blank_free)
        prompt = prompt_of(record, config.prompt_style, config.priors, self.count_tokens, self.count_tokens.limit, rng)
        if isinstance(prompt, NoPrompt):
            raise RejectedImageError(prompt.rule, prompt.reason)
        return prompt

    def _row(self, picture: Picture, prompt: Prompt, burned_in: BurnedIn, size: Size) -> Json:
        """The row of an image in the dataset's metadata."""
        config, record, subject = self.config, picture.record, picture.record.subject
        height, width = picture.image.shape
        fitted = max if config.crop == "pad" else min  # of the two sides, the one that was fitted
        spacing = picture.pixel_spacing_mm
        return {
            "file_name": self.naming.output(record.name),
            "text": prompt.text,
            "patient_id": self.naming.patient(record),
            "study_id": self.naming.study(record),
            "age": subject.age,
            "age_range": list(subject.age_range) if subject.age_range else None,
            "sex": subject.sex,
            "view": subject.view,
            "findings": list(subject.findings),
            "source": self.naming.source,
            "width": size[1],
            "height": size[0],
            "source_file": self.naming.file(record.name),
            "source_width": width,
            "source_height": height,
            "pixel_spacing_mm": [round(fitted(mm * height / size[0], mm * width / size[1]), 6) for mm in spacing]
            if spacing
            else None,
            "burned_in_text": burned_in.flagged if config.burned_in != "off" else None,
            "prompt_style": prompt.style if config.prompt_style != "structured" else "",
            "findings_unsaid": prompt.unsaid if config.prompt_style != "structured" else None,
            "official_split": record.split or "",
            "notes": "; ".join(picture.notes),
        }

    def lose(self, record: Record, how: str) -> "Outcome":
        """A record at which the worker process died."""
        reason = {
            "hung": "reading it took more than a minute",
            "crashed": "the process that read it died, by a fault of the decoder or for want of memory",
        }[how]
        return self.refuse(record, how, reason)

    def image_of(self, name: str) -> Path:
        """Where an image lies: where a worker put it, or in its split already if putting together was begun."""
        places = [self.folder / name, *(self.config.out / split / name for split in SPLITS)]
        return next((place for place in places if place.is_file()), places[0])

    def is_there(self, entry: Json) -> bool:
        """Whether the image of a journal's entry is whole; a rejected record has none."""
        image = self.image_of(entry["row"]["file_name"]) if "row" in entry else None
        return image is None or (image.is_file() and image.stat().st_size == entry["bytes"])

    def refuse(self, record: Record, rule: str, reason: str, image: Grey | None = None) -> "Outcome":
        """A record that is no part of the dataset; of an image that could be opened a thumbnail is kept."""
        file = self.naming.file(record.name)
        entry = {
            "file": file,
            "rule": rule,
            "reason": self.naming.reason(reason, self.root, record.name),
        }
        if image is not None:
            entry = self.with_thumbnail(entry, self.naming.output(record.name), image)
        return Outcome(entry, self.naming.links(record))

    def with_thumbnail(self, entry: Json, name: str, image: Grey) -> Json:
        """The row of a rejected image with a small picture of it, unless names are hashed and it shows text."""
        if self.naming.key is not None and entry["rule"] in SHOWS_TEXT:
            return entry
        small = f"{name.removesuffix('.png')}.jpg"
        write_bytes(self.thumbnails / small, thumbnail(image), durable=False)
        return entry | {"thumbnail": small}


def to_size(image: Grey, config: PrepareConfig) -> Grey:
    """The image as the dataset has it: a square, or the bucket of its own shape."""
    if config.crop == "bucket":
        return cover(image, bucket_for((image.shape[0], image.shape[1]), config.resolution))
    return to_square(image, config.resolution, config.crop)


@dataclass(frozen=True)
class Outcome:
    """What came of a record: a line for the journal (a ``row``, or a ``rule`` and a ``reason``), and its links."""

    entry: Json
    links: tuple[Link, ...] = ()


def begin_worker() -> None:
    """Each worker has one core: OpenCV would start threads of its own on all of them."""
    import cv2

    cv2.setNumThreads(1)

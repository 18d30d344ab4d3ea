"""What is burned into an X-ray: a line of text or a solid marker, and whether it tells who the patient is."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from synthcxr.store import Json

Points = npt.NDArray[np.float32]
Kind = Literal["laterality", "position", "identifier", "other", "marker"]
"""A side; a view, posture or device; what can tell who, where or when; other text; a solid shape that is no text."""

_LATERALITY = re.compile(r"[LR]|LEFT|RIGHT|LT|RT|(LEFT|RIGHT)?SIDE")
_POSITION = re.compile(
    r"AP|PA|LAT|LATERAL|OBL|RAO|LAO|RPO|LPO|PORT(ABLE)?|MOBILE|(SEMI)?(ERECT|UPRIGHT)|UP|SEMI|SUP(INE)?|PRONE|SITTING|"
    r"STANDING|WHEELCHAIR|STRETCHER|RECUMBENT|DECUB(ITUS)?|CHEST|THORAX|BED|BEDSIDE|GRID|UNGRID|"
    r"(INSP|EXP)(IRATION|IRATORY)?|VIEW|[↑↓←→]+"
)
_TECHNICAL = re.compile(r"KVP?|MAS?|MSEC|MS|CM|MM|SID|EI|DI|IMAGE|STAT|EMERGENCY|(\d+(KVP?|MAS|CM|MM|MS))")
_NUMBER = re.compile(r"\d+([.,]\d+)?")


@dataclass(frozen=True)
class Mark:
    """Something burned in: its corners (x, y) in pixels, what it says, its score (0 to 1), and what it is.

    A text has four corners, clockwise from the top left of the image as it lies. A solid marker has no text, and its
    corners are its outline. `rotation` is by how many degrees the text is turned clockwise: 0, 90, 180 or 270.
    """

    polygon: tuple[tuple[float, float], ...]
    text: str
    score: float
    kind: Kind = "other"
    rotation: int = 0

    @property
    def points(self) -> Points:
        """The corners, (N, 2)."""
        return np.array(self.polygon, np.float32)

    @property
    def line_height(self) -> float:
        """The shorter side in pixels, which for letters in a row is the height of the line."""
        points = self.points
        if len(points) != 4:
            import cv2

            return float(min(cv2.minAreaRect(points)[1]))
        return float(min(np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[3] - points[0])))

    def holds(self, point: tuple[float, float]) -> bool:
        """Whether a point (x, y) lies inside, or on the edge."""
        import cv2

        return cv2.pointPolygonTest(self.points, point, False) >= 0

    def as_json(self) -> Json:
        """The mark as a row of the proof keeps it."""
        return {
            "polygon": [list(point) for point in self.polygon],
            "text": self.text,
            "score": self.score,
            "kind": self.kind,
            "rotation": self.rotation,
        }


def kind_of(text: str) -> Kind:
    """What a line says. A word of three letters or more that is not known counts as a name, any figure as a number.

    Only a line of nothing but sides is ``laterality``: "R" and "R ERECT" differ, and so does "R JS" (a technician).
    """
    joined = re.sub(r"\b([A-Z])[-.](?=[A-Z]\b)", r"\1", text.upper())  # A-P, P.A.
    words = re.findall(r"[^\W_]+|[↑↓←→]+", joined)
    if not words:
        return "other"
    if all(_LATERALITY.fullmatch(word) for word in words):
        return "laterality"
    known = [word for word in words if _LATERALITY.fullmatch(word) or _POSITION.fullmatch(word)]
    if len(known) == len(words):
        return "position"
    rest = [word for word in words if word not in known and not _TECHNICAL.fullmatch(word)]
    measured = len(rest) < len(words) - len(known)  # a unit is there, so that "125 kV" is no number of a patient's
    if all(measured and _NUMBER.fullmatch(word) for word in rest):
        return "other"
    letters = sum(len(word) for word in rest)
    return "other" if letters <= 2 else "identifier"


def keep_out(marks: Iterable[Mark], kept: Sequence[Kind]) -> list[Mark]:
    """The marks to remove, where those of some kinds are to stay."""
    return [mark for mark in marks if mark.kind not in kept]

"""Small charts as inline SVG: a curve, histograms side by side, an interval beside its floor."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT, MARGIN = 560, 200, 40
COLOURS = ("#2f6f9f", "#c8553d", "#6b8f3d")


def _axes(x_low: float, x_high: float, y_high: float, x_title: str) -> str:
    bottom, right = HEIGHT - MARGIN, WIDTH - MARGIN
    return (
        f'<line class="axis" x1="{MARGIN}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
        f'<text x="{MARGIN}" y="{bottom + 16}">{x_low:.3g}</text>'
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{x_high:.3g}</text>'
        f'<text x="{(MARGIN + right) / 2}" y="{bottom + 30}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text x="{MARGIN - 6}" y="{MARGIN + 4}" text-anchor="end">{y_high:.3g}</text>'
        f'<text x="{MARGIN - 6}" y="{bottom}" text-anchor="end">0</text>'
    )


def _key(number: int, name: str, colour: str) -> str:
    """A line's name in its colour, beside the names before it."""
    x, y = MARGIN + 170 * (number % 3), 14 + 15 * (number // 3)
    return f'<text x="{x}" y="{y}" style="fill:{colour}">{escape(name)}</text>'


def _svg(body: str, label: str, height: int = HEIGHT) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}" class="chart">{body}</svg>'
    )


def curve(xs: Sequence[float], ys: Sequence[float], x_title: str, label: str) -> Markup:
    """A line through the points, the vertical axis from 0."""
    y_high = max(ys) or 1.0
    span = (xs[-1] - xs[0]) or 1.0
    points = " ".join(
        f"{MARGIN + (x - xs[0]) / span * (WIDTH - 2 * MARGIN):.1f},"
        f"{HEIGHT - MARGIN - y / y_high * (HEIGHT - 2 * MARGIN):.1f}"
        for x, y in zip(xs, ys, strict=True)
    )
    line = f'<polyline points="{points}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>'
    return _svg(_axes(xs[0], xs[-1], y_high, x_title) + line, label)


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], x_title: str, label: str) -> Markup:
    """Lines through points (x, y) with their names, the vertical axis from 0; a far-off start may leave the top."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    low, high = min(xs), max(xs)
    top = min(max(ys), 3 * float(np.median(ys))) or 1.0
    body = _axes(low, high, top, x_title)
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{MARGIN + (x - low) / ((high - low) or 1.0) * (WIDTH - 2 * MARGIN):.1f},"
            f"{HEIGHT - MARGIN - min(y / top, 1.1) * (HEIGHT - 2 * MARGIN):.1f}"
            for x, y in points
        )
        body += f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        body += _key(number, name, colour)
    return _svg(body, label)


def histograms(lists: Mapping[str, Sequence[float]], threshold: float | None, x_title: str, bins: int = 28) -> Markup:
    """Shares of several lists over common bins, as outlines; a dashed line at the threshold."""
    everything = np.concatenate([np.asarray(values) for values in lists.values()])
    low, high = 0.0, float(np.quantile(everything, 0.995)) or 1.0
    edges = np.linspace(low, high, bins + 1)
    shares = {name: np.histogram(np.clip(v, low, high), edges)[0] / len(v) for name, v in lists.items()}
    top = max(float(share.max()) for share in shares.values()) or 1.0

    def x(value: float) -> float:
        return MARGIN + (value - low) / (high - low) * (WIDTH - 2 * MARGIN)

    body = _axes(low, high, top, x_title)
    for number, (name, share) in enumerate(shares.items()):
        colour = COLOURS[number % len(COLOURS)]
        steps = " ".join(
            f"{x(edge):.1f},{HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN):.1f}"
            for left, right, value in zip(edges, edges[1:], share, strict=False)
            for edge in (left, right)
        )
        body += f'<polyline points="{steps}" fill="none" stroke="{colour}" stroke-width="2"/>'
        body += _key(number, name.replace("_", " "), colour)
    if threshold is not None and threshold <= high:
        at = f"{x(threshold):.1f}"
        body += f'<line class="threshold" x1="{at}" y1="{MARGIN}" x2="{at}" y2="{HEIGHT - MARGIN}"/>'
    return _svg(body, f"Distribution of {x_title}")


def interval_bar(
    value: float,
    low: float | None,
    high: float | None,
    floor: tuple[float, float] | None,
    *,
    ceiling: float | None = None,
    useless: float | None = None,
    unit: str = "",
) -> Markup:
    """A value with its interval, on a scale with what real images give and what a useless set gives.

    Real images: the shaded range `floor` of two halves of patients, or a tick at the `ceiling`. Useless: a dashed tick.
    Squared units are drawn by their root, shares from 0 to 1.
    """
    marks = [value, *(end for end in (low, high, *(floor or ()), ceiling, useless) if end is not None), 0.0]
    bend = (lambda x: float(np.sign(x) * abs(x) ** 0.5)) if unit.startswith("squared") else float
    left, right = bend(min(marks)), bend(max(marks))
    if unit in ("share", "area under the ROC curve") and left >= 0:
        right = 1.0
    span = (right - left) or 1.0

    def x(number: float) -> float:
        return float(6 + (bend(number) - left) / span * 188)

    def tick(at: float, kind: str) -> str:
        return f'<line class="{kind}" x1="{x(at):.1f}" y1="2" x2="{x(at):.1f}" y2="22"/>'

    body = '<line class="axis" x1="0" y1="12" x2="200" y2="12"/>'
    if floor:
        width = max(3.0, x(floor[1]) - x(floor[0]))
        body += f'<rect class="floor" x="{x(floor[0]):.1f}" y="2" width="{width:.1f}" height="20"/>'
    body += tick(ceiling, "ceiling") if ceiling is not None else ""
    body += tick(useless, "useless") if useless is not None else ""
    if low is not None and high is not None:
        body += f'<line class="interval" x1="{x(low):.1f}" y1="12" x2="{x(high):.1f}" y2="12"/>'
    body += f'<circle class="value" cx="{x(value):.1f}" cy="12" r="4"/>'
    return Markup(f'<svg viewBox="0 0 200 24" class="bar" role="img" aria-label="value on its scale">{body}</svg>')

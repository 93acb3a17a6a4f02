"""One kind of picture, as inline SVG: a line for each figure, on it our value and the peer's, with the least and the most.

The axis is logarithmic, for what is compared may be a hundred times apart, and the distance of the two dots is then how many
times; the axis of a picture says in which unit, and which way is better.
"""
from __future__ import annotations

import html
import math
from dataclasses import dataclass

INK, MUTED, GRID, OURS, PEER = "#1c2733", "#55616e", "#d8dee6", "#1f5fbf", "#d9680f"
GOOD, BAD = "#2b7a3a", "#b3261e"
LABEL_WIDTH, PLOT_WIDTH, NOTE_WIDTH, ROW = 250, 450, 260, 26


@dataclass
class Mark:
    """A median with the least and the most of all rounds."""
    value: float
    least: float
    most: float


@dataclass
class Line:
    label: str
    ours: Mark
    peer: Mark | None
    note: str
    met: bool | None


def number(value: float) -> str:
    """Three digits that matter."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def text(x: float, y: float, content: str, anchor: str = "start", color: str = INK, size: int = 13) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}">{html.escape(content)}</text>')


def ticks(low: float, high: float) -> list[float]:
    """Round numbers on the axis: 1, 2, 5 of each power of ten where they are few, else each power; even steps if that is too few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5)):
        found = [digit * 10.0 ** power for power in decades for digit in digits if low <= digit * 10.0 ** power <= high]
        if len(found) >= 3:
            return found
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= 5 if (high - low) / step > 12 else 2 if (high - low) / step > 5 else 1
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


class Axis:
    def __init__(self, lines: list[Line]):
        marks = [mark for line in lines for mark in (line.ours, line.peer) if mark]
        low, high = min(mark.least for mark in marks), max(mark.most for mark in marks)
        # never narrower than from 1 to 2: small differences should look small
        widen = max(1.1, math.sqrt(2 * low / high))
        self.low, self.high = low / widen, high * widen

    def at(self, value: float) -> float:
        return LABEL_WIDTH + PLOT_WIDTH * math.log(value / self.low) / math.log(self.high / self.low)

    def draw(self, height: float) -> list[str]:
        out = []
        for value in ticks(self.low, self.high):
            x = self.at(value)
            out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="{GRID}"/>')
            out.append(text(x, height + 15, f"{value:,.12g}", "middle", MUTED, 12))
        return out


def dot(axis: Axis, mark: Mark, y: float, color: str) -> list[str]:
    """The bar from the least to the most has ends, so that it is seen where it is short."""
    left, right = axis.at(mark.least), axis.at(mark.most)
    out = [f'<circle cx="{axis.at(mark.value):.1f}" cy="{y}" r="4.5" fill="{color}"/>']
    if right - left > 1:
        out.append(f'<path d="M{left:.1f} {y - 4}v8M{left:.1f} {y}H{right:.1f}M{right:.1f} {y - 4}v8" stroke="{color}"'
                   ' stroke-width="1.5" fill="none"/>')
    return out


def draw(lines: list[Line], unit: str, better: str) -> str:
    """A picture of figures of one unit; nothing where a value is 0, which has no place on the axis."""
    lines = [line for line in lines if line.ours.least > 0 and (line.peer is None or line.peer.least > 0)]
    if not lines:
        return ""
    axis, height = Axis(lines), len(lines) * ROW
    out = axis.draw(height)
    for i, line in enumerate(lines):
        y = i * ROW + ROW / 2
        out.append(text(LABEL_WIDTH - 12, y + 4, line.label, "end"))
        if line.peer:
            out.append(f'<line x1="{axis.at(line.ours.value):.1f}" x2="{axis.at(line.peer.value):.1f}" y1="{y}" y2="{y}"'
                       f' stroke="{MUTED}" stroke-dasharray="2 3"/>')
            out += dot(axis, line.peer, y, PEER)
        out += dot(axis, line.ours, y, OURS)
        color = MUTED if line.met is None else GOOD if line.met else BAD
        out.append(text(LABEL_WIDTH + PLOT_WIDTH + 14, y + 4, line.note, color=color))
    better = "to the left is better" if better == "lower" else "to the right is better"
    out.append(text(LABEL_WIDTH + PLOT_WIDTH / 2, height + 33, f"{unit}, {better}", "middle", MUTED, 12))
    width = LABEL_WIDTH + PLOT_WIDTH + NOTE_WIDTH
    return f'<svg viewBox="0 0 {width} {height + 42}" width="{width}" role="img">{"".join(out)}</svg>'

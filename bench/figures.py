"""Samples to figures: medians, tails, ratios; rows to a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


def quantile(samples: Sequence[float], q: float) -> float:
    """Linear between neighbours; of an empty list, nan."""
    if not samples:
        return float("nan")
    ordered = sorted(samples)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


@dataclass
class Figure:
    """What one program took for one thing, over all rounds."""

    who: str
    p50: float
    low: float
    high: float
    samples: int
    p99: float | None = None

    @staticmethod
    def of(who: str, samples: Sequence[float], tail: bool = False) -> "Figure":
        return Figure(
            who, quantile(samples, 0.5), min(samples, default=float("nan")), max(samples, default=float("nan")),
            len(samples), quantile(samples, 0.99) if tail else None,
        )  # fmt: skip


@dataclass
class Row:
    """One promise: the figures measured side by side, and each target with whether it is met."""

    name: str
    unit: str
    ours: Figure | None
    peers: list[Figure] = field(default_factory=list)
    targets: list[tuple[str, bool]] = field(default_factory=list)
    note: str = ""
    more: dict = field(default_factory=dict)

    def at_most(self, bound: float, what: str = "") -> None:
        """A target in the row's own unit."""
        self.targets.append((f"≤ {bound:g} {self.unit}{what}", self.ours is not None and self.ours.p50 <= bound))

    def against(self, who: str, factor: float, faster_is_more: bool = False) -> None:
        """A target as a ratio of medians; a peer that is not there is said and not counted."""
        peer = next((p for p in self.peers if p.who == who), None)
        sign = "≥" if faster_is_more else "≤"
        if peer is None or self.ours is None:
            self.note += f" {who} was not measured."
            return
        ratio = self.ours.p50 / peer.p50
        met = ratio >= factor if faster_is_more else ratio <= factor
        self.targets.append((f"{sign} {factor:g} × {who} (is {ratio:.2f} ×)", met))


def _said(value: float, unit: str) -> str:
    if value != value:
        return "–"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f} {unit}".replace(",", " ")


def _cell(figure: Figure, unit: str) -> str:
    text = f"{_said(figure.p50, unit)}"
    if figure.p99 is not None:
        text += f", p99 {_said(figure.p99, unit)}"
    if figure.samples > 1:
        text += f" ({_said(figure.low, unit)} – {_said(figure.high, unit)})"
    return text


def markdown(rows: list[Row], machine: dict) -> str:
    out = ["# Measured side by side", "", *(f"* {key}: {value}" for key, value in machine.items()), ""]
    out += ["Medians over interleaved rounds; in brackets least and most.", ""]
    out += ["| what | Ingle | beside it | target | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        ours = _cell(row.ours, row.unit) if row.ours else "failed"
        peers = "<br>".join(f"{p.who}: {_cell(p, row.unit)}" for p in row.peers) or "–"
        targets = "<br>".join(text for text, _ in row.targets) or "none set"
        met = "<br>".join("met" if ok else "**missed**" for _, ok in row.targets) or "–"
        out.append(f"| {row.name} | {ours} | {peers} | {targets} | {met} |")
    notes = [f"* {row.name}:{row.note}" for row in rows if row.note]
    return "\n".join(out + (["", *notes] if notes else [])) + "\n"


def as_json(rows: list[Row], machine: dict) -> str:
    return json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1, default=str) + "\n"

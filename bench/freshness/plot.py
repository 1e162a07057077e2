"""The plot for the docs, as SVG."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from bench.freshness.cases import Keeper, Result

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 56, 56
COLOURS = {Keeper.OURS: "#0b6e4f", Keeper.TICK: "#c2571a", Keeper.ON_READ: "#4666b0"}
DASHES = {Keeper.OURS: "", Keeper.TICK: "7 4", Keeper.ON_READ: "2 4"}
READS = timedelta(seconds=285)


def svg(results: Sequence[Result]) -> str:
    """Return the share of time with a valid token at a consumer, against the number of tenants, for each keeper."""
    lines: dict[Keeper, list[tuple[int, float]]] = {}
    for result in results:
        lines.setdefault(result.case.keeper, []).append((result.case.tenants, 1 - result.held[READS][0]))
    most = max(tenants for points in lines.values() for tenants, _ in points)
    least = min(0.5, *(share for points in lines.values() for _, share in points))
    floor = int(least * 10) / 10
    scale = Scale(most, floor)
    about = "a consumer that reads every 285 s; 60-minute tokens, 5 calls a minute, nothing else fails"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">Share of time with a valid token</text>',
        f'<text x="{LEFT}" y="42" fill="#555555">{about}</text>',
        *_grid(scale),
        *(_line(scale, keeper, points) for keeper, points in lines.items()),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class Scale:
    """From tenants and shares to places on the picture."""

    def __init__(self, most: int, floor: float) -> None:
        """Take the largest number of tenants and the smallest share shown."""
        self.most, self.floor = most, floor

    def x(self, tenants: float) -> float:
        """Return the place of a number of tenants."""
        return LEFT + (WIDTH - LEFT - RIGHT) * tenants / self.most

    def y(self, share: float) -> float:
        """Return the place of a share."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (share - self.floor) / (1 - self.floor)


def _grid(scale: Scale) -> list[str]:
    parts = []
    for tenth in range(round(scale.floor * 10), 11):
        y = scale.y(tenth / 10)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{tenth * 10} %</text>',
        ]
    for tenants in range(0, scale.most + 1, 100):
        x = scale.x(tenants)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle" fill="#555555">{tenants}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle" fill="#555555">tenants on the server</text>')
    return parts


def _line(scale: Scale, keeper: Keeper, points: Sequence[tuple[int, float]]) -> str:
    places = " ".join(f"{scale.x(tenants):.1f},{scale.y(share):.1f}" for tenants, share in sorted(points))
    return f'<polyline points="{places}" fill="none" stroke-width="2.5" {_stroke(keeper)}/>'


def _stroke(keeper: Keeper) -> str:
    dashes = f' stroke-dasharray="{DASHES[keeper]}"' if DASHES[keeper] else ""
    return f'stroke="{COLOURS[keeper]}"{dashes}'


def _legend(lines: Mapping[Keeper, object]) -> list[str]:
    top = HEIGHT - BOTTOM - 20 * len(lines) - 16
    parts = [f'<rect x="{LEFT + 8}" y="{top}" width="272" height="{20 * len(lines) + 8}" fill="#ffffff"/>']
    for number, keeper in enumerate(lines):
        y = HEIGHT - BOTTOM - 20 * (len(lines) - number)
        parts += [
            f'<line x1="{LEFT + 16}" x2="{LEFT + 56}" y1="{y}" y2="{y}" stroke-width="2.5" {_stroke(keeper)}/>',
            f'<text x="{LEFT + 64}" y="{y + 4}">{keeper.value}</text>',
        ]
    return parts

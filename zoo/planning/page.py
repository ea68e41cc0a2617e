"""The picture of a plan: losses along curves of equal FLOPs, and where each law has its optimum."""

from __future__ import annotations

from math import ceil, floor

from zoo.planning.laws import FLOPS, LAWS, loss
from zoo.planning.record import Plan
from zoo.report import frame
from zoo.report.axis import Axis, decades
from zoo.report.chart import Frame, Line, both, chart
from zoo.report.svg import Markup, element
from zoo.units import human_count
from zoo.version import __version__

STEPS = (1e-3, 1e-2, 1e-1, 1.0)  # budgets, as shares of the one that was asked for
POINTS = 40


def page(plan: Plan) -> str:
    """The whole page, which needs no network and no script."""
    title = f"{plan.budget:.2e} FLOPs planned by zoo"
    parts = [
        element("h1", f"{plan.budget:.2e} FLOPs"),
        frame.about(f"computed by the laws that were published, by zoo {__version__}"),
        *frame.figure("Curves of equal FLOPs", isoflops(plan), _words(plan)),
    ]
    return frame.document(title, len(STEPS), *parts)


def isoflops(plan: Plan) -> list[Markup]:
    """Chinchilla's parametric loss by parameters, a line for each budget."""
    lines = [Line(i, f"{plan.budget * share:.1e} FLOPs", _curve(plan.budget * share)) for i, share in enumerate(STEPS)]
    across = [x for line in lines for x, _ in line.points]
    high = [y for line in lines for _, y in line.points]

    def draw(drawn: Frame) -> Markup:
        x, y = decades(min(across), max(across), *drawn.x), _tenths(min(high), max(high), *drawn.y)
        best = LAWS[2].optimum(plan.budget).parameters
        return chart("curves of equal FLOPs", lines, x, y, drawn, across="parameters", mark=best)

    return both(draw, lines)


def _curve(budget: float) -> tuple[tuple[float, float], ...]:
    """The loss of models from a thirtieth to thirty times the best size, each trained on what is left for it."""
    best = LAWS[2].optimum(budget).parameters
    sizes = [best * 30 ** (2 * i / (POINTS - 1) - 1) for i in range(POINTS)]
    return tuple((n, loss(n, budget / (FLOPS * n))) for n in sizes)


def _tenths(low: float, high: float, start: float, end: float) -> Axis:
    """A plain axis of losses with ticks at tenths of a nat, or at multiples of them where there are many."""
    step = next(s for s in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100) if (high - low) / s <= 8 or s == 100)
    first, last = floor(low / step), ceil(high / step)
    ticks = tuple((k * step, f"{k * step:.2f}") for k in range(first, last + 1))
    return Axis(first * step, last * step, start, end, ticks, is_log=False)


def _words(plan: Plan) -> str:
    told = ", ".join(f"{o.law}: {human_count(o.parameters)} on {human_count(o.tokens)}" for o in plan.optima)
    return (
        f"Nats per token by Chinchilla's parametric loss; the mark is where its third fit has the best size. {told}. "
        "Curves flatten near their minimum: half or twice the best size costs little."
    )

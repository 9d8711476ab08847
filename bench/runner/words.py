"""How numbers are written."""

__all__ = ["DASH", "TIMES", "number"]

TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"


def number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

"""Measures servers side by side: see docs/performance.md."""

"""polyrank: one model for many objectives, one ranked list."""

from polyrank._version import __version__

__all__ = ["__version__"]

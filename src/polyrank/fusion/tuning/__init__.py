"""The search for weights of a value model: objectives, guardrails, front, knee and champion."""

from polyrank.fusion.tuning.result import Tuned

__all__ = ["Tuned"]

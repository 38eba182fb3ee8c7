"""Tests of runs that start from a trained model."""

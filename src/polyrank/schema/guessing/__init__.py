"""Guessing a schema: one file for each thing that names and values tell.

>>> from polyrank.schema.guessing.words import words
>>> words("playTime_ms")
('play', 'time', 'ms')
"""

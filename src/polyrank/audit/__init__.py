"""The audit: does sharing help or hurt each task, and why. ``polyrank audit`` makes one.

Of the differences of three seeds on 500 users, and on draws of these users:

>>> import numpy as np
>>> from polyrank.audit.gain import gain_of
>>> differences_S = np.array([-0.003, -0.004, -0.002])
>>> draws_SR = np.random.default_rng(0).normal(differences_S[:, None], 0.0005, (3, 100))
>>> low, high = gain_of(differences_S, draws_SR, units=500).interval(0.05)
>>> f"{low:.4f} to {high:.4f}"
'-0.0054 to -0.0006'
"""

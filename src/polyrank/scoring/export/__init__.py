"""The network for other runtimes: exported, rewritten to compute the user's side once, compared.

>>> from polyrank.scoring.export.triton import config_text
>>> from polyrank.scoring.export.network import Inputs
>>> from polyrank.data import Layout
>>> layout = Layout(
...     ids=(), numerics=(), ragged=(), vectors=(), tasks=("click",), num_rows=0, targets={}
... )
>>> print(config_text("feed", Inputs(layout), ["click"]).splitlines()[0])
name: "feed"
"""

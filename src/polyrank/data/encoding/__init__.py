"""From checked columns to table rows, scaled numbers and labels; one idea a file.

>>> import pyarrow as pa
>>> from polyrank.data.encoding.counting import IdCounter
>>> from polyrank.data.encoding.vocabulary import Vocabulary
>>> counter = IdCounter("item_id")
>>> counter.add(pa.array([7, 7, 9, 7, 9, 3, None]))
>>> items = Vocabulary(counter.most_frequent(min_frequency=2))
>>> items.num_rows, items.rows(pa.array([9, 7, 3, None])).tolist()
(4, [3, 2, 1, 0])
"""

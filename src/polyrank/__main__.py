"""``python -m polyrank``."""

import sys

from polyrank.cli import main

sys.exit(main())

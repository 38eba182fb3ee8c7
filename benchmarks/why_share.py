"""Why share? Data efficiency, regularisation, cost and conflict, each measured.

    python benchmarks/why_share.py --data-root ../shared/data --work build/why conflict

Runs that are done are kept in the work folder. The table goes to
benchmarks/results/why_<study>.md. Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al., CIKM 2022).
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

from quality.flags import add_data_root
from why import conflict, cost, data_efficiency, regularisation

HERE = Path(__file__).resolve().parent
STUDIES = {
    "data_efficiency": data_efficiency,
    "regularisation": regularisation,
    "cost": cost,
    "conflict": conflict,
}


def main() -> None:
    """One study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    add_data_root(parser)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    folder = given.work / given.study
    folder.mkdir(parents=True, exist_ok=True)
    chosen = STUDIES[given.study]
    outcome = chosen.study(given.data_root, folder, given.workers)
    lines = [
        f"# {(chosen.__doc__ or '').splitlines()[0]}",
        "",
        f"{datetime.date.today()}, `python benchmarks/why_share.py {given.study}`. {outcome.how}",
        "",
        f"![The figure](why_{given.study}.png)",
        "",
        *outcome.lines,
    ]
    outcome.draw(HERE / "results" / f"why_{given.study}.png")
    (HERE / "results" / f"why_{given.study}.md").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()

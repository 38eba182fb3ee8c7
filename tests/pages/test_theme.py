"""Colours against the formulas of WCAG 2 (contrast) and of Machado et al. 2009 (deficiencies)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from polyrank.pages import TaskColors
from polyrank.pages.theme import TASK_COLORS, VARIABLES, in_light

Floats = NDArray[np.float64]
LIGHT, DARK = 0, 1
# Machado, Oliveira, Fernandes 2009, table 1, severity 1.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(color: str) -> Floats:
    channel = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    high, low = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other)), reverse=True)
    return float((high + 0.05) / (low + 0.05))


def lab(rgb: Floats) -> Floats:
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.072175],
            [0.0193339, 0.119192, 0.9503041],
        ]
    )
    x = to_xyz @ rgb / [0.95047, 1.0, 1.08883]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_text_and_marks_stand_out_from_the_page_and_its_panels(scheme: int) -> None:
    least = {"ink": 7.0, "muted": 4.5, "accent": 4.5, "good": 4.5, "bad": 4.5}
    least |= {f"task-{place}": 3.0 for place in range(len(TASK_COLORS))}
    for name, ratio in least.items():
        for ground in ("page", "panel"):
            found = contrast(VARIABLES[name][scheme], VARIABLES[ground][scheme])
            assert found >= ratio * 0.95 if ground == "panel" else found >= ratio, (name, found)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_tasks_differ_for_every_reader(scheme: int, deficiency: str) -> None:
    seen = [
        lab(np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(pair[scheme]), 0, 1))
        for pair in TASK_COLORS
    ]
    for (i, one), (j, other) in combinations(enumerate(seen), 2):
        assert np.linalg.norm(one - other) > (18 if max(i, j) < 5 else 12), (i, j)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_the_first_tasks_differ_in_grey(scheme: int) -> None:
    lightness = [lab(linear(pair[scheme]))[0] for pair in TASK_COLORS[:5]]
    assert min(abs(a - b) for a, b in combinations(lightness, 2)) > 4


def test_a_task_keeps_its_look_and_56_tasks_have_56() -> None:
    names = [f"task {place}" for place in range(56)]
    colors, fewer = TaskColors(names), TaskColors(names[:9])
    looks = set(
        zip(
            colors.color().to_dict()["range"],
            map(tuple, colors.dash().to_dict()["range"]),
            colors.shape().to_dict()["range"],
            strict=True,
        )
    )
    assert len(looks) == 56
    assert fewer.of("task 8") == colors.of("task 8") == colors.of("task 0")
    assert fewer.cell("task 8").place == 8


def test_variables_have_light_values_in_images() -> None:
    assert (
        in_light('["var(--task-0)", "var(--ink)"]')
        == f'["{TASK_COLORS[0][0]}", "{VARIABLES["ink"][0]}"]'
    )

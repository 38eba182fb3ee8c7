import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank import errors
from polyrank.errors import ConfigError, DataError, PolyrankError, suggest

EXIT_CODES = {
    "ConfigError": 2,
    "DataError": 3,
    "ArtefactError": 4,
    "DivergedError": 5,
    "StorageError": 6,
    "DistributedError": 7,
    "InterruptedRun": 75,
}


def test_every_error_has_its_own_exit_code_and_word() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and c is not PolyrankError]
    kinds = {c.__name__: c for c in classes if issubclass(c, PolyrankError)}
    assert {name: kind.exit_code for name, kind in kinds.items()} == EXIT_CODES
    assert len({kind.code for kind in kinds.values()}) == len(EXIT_CODES)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_error_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match="the disk is full"):
        raise getattr(errors, name)("the disk is full")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("bad"), "bad"),
        (ConfigError("bad", where="a.yaml"), "a.yaml: bad"),
        (ConfigError("bad", hint="Mend it."), "bad. Mend it."),
        (ConfigError("bad", hint="mend it"), "bad. Mend it."),
        (ConfigError("bad", hint="Did you mean 'good'?"), "bad. Did you mean 'good'?"),
        (ConfigError("bad.", where="a.yaml", hint="Mend it."), "a.yaml: bad. Mend it."),
        (
            ConfigError("2 problems", problems=(DataError("one"), DataError("two", where="x"))),
            "2 problems\n- one\n- x: two",
        ),
    ],
)
def test_text(error: PolyrankError, text: str) -> None:
    assert str(error) == text


words = st.text(max_size=20)
trees = st.recursive(
    st.builds(
        DataError, words, where=st.none() | words.filter(bool), hint=st.none() | words.filter(bool)
    ),
    lambda inner: st.builds(ConfigError, words, problems=st.lists(inner, max_size=3).map(tuple)),
    max_leaves=6,
)


def facts(error: PolyrankError) -> dict[str, object]:
    tree: dict[str, object] = {"code": type(error).code, "message": error.message}
    tree |= {"where": error.where, "hint": error.hint}
    if error.problems:
        tree["problems"] = [facts(problem) for problem in error.problems]
    return tree


@given(trees)
def test_json_is_one_line_that_holds_everything(error: PolyrankError) -> None:
    line = error.to_json()
    assert len(line.split("\n")) == 1
    assert json.loads(line) == facts(error)


@given(trees)
def test_a_copy_says_the_same(error: PolyrankError) -> None:
    # An error crosses processes by the same protocol.
    again = copy.deepcopy(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.to_json() == error.to_json()


@given(trees)
def test_every_problem_is_in_the_text(error: PolyrankError) -> None:
    for problem in error.problems:
        assert problem.message in str(error)


TWENTY = list("abcdefghijklmnopqrst")


@pytest.mark.parametrize(
    ("word", "known", "told"),
    [
        ("clik", ["click", "like"], "Did you mean 'click'?"),
        ("LIKE", ["click", "Like"], "Did you mean 'Like'?"),
        ("zzz", ["b", "a"], "Known: a, b."),
        ("zzz", [], "Known: none."),
        ("zzz", TWENTY, f"Known: {', '.join(TWENTY)}."),
        ("zzz", [*TWENTY, "u", "v"], f"Known: {', '.join(TWENTY)} and 2 more."),
    ],
)
def test_an_unknown_word_gets_the_nearest_known_or_the_first_twenty(
    word: str, known: list[str], told: str
) -> None:
    assert suggest(word, known) == told

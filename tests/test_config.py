"""The configuration: a YAML file, a Python object and the saved tree are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polyrank.config import DataConfig, RunConfig, data_root, load_config, override, read_yaml
from polyrank.errors import ConfigError
from polyrank.schema import parse

YAML = """
schema:
  features:
    - {kind: categorical, name: item_id, side: item}
  tasks:
    - {kind: binary, name: click}
    - {kind: binary, name: on}
  tables: [{name: items, on: item_id}]
data:
  log: log.parquet
  split: {kind: time, column: day, validation_from: 20220429}
  tables: {items: items.parquet}
model:
  sharing: {kind: shared_bottom, widths: [32]}
balance: {kind: static, weights: {click: 2}}
training: {learning_rate: 1e-3}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ranker.yaml"
    file.write_text(YAML)
    return file


def _tree(**changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "schema": {
            "features": [{"kind": "categorical", "name": "item_id"}],
            "tasks": [{"kind": "binary", "name": "click"}],
        },
        "data": {"train": "a.parquet", "validation": "b.parquet"},
    }
    for key, value in changes.items():
        tree[key] = tree.get(key, {}) | value if isinstance(value, dict) else value
    return tree


def test_yaml_is_read_by_the_rules_of_1_2(path: Path) -> None:
    config = load_config(path)
    assert config.training.learning_rate == 0.001
    assert config.schema_.task_names == ("click", "on")
    assert config.model.sharing.kind == "shared_bottom"


def test_the_tree_comes_back_whole(path: Path) -> None:
    config = load_config(path)
    again = parse(RunConfig, config.tree())
    assert again == config
    assert again.fingerprint() == config.fingerprint()
    assert load_config(path, ["seed=1"]).fingerprint() != config.fingerprint()


def test_settings_are_put_over_the_file(path: Path) -> None:
    config = load_config(path, ["training.epochs=7", "model.sharing.widths=[8, 8]", "output=x"])
    assert config.training.epochs == 7
    assert config.tree()["model"]["sharing"]["widths"] == [8, 8]
    assert config.output == "x"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "no setting"),
        ("=3", "no setting"),
        ("seed.deep=3", "leads through 'seed'"),
    ],
)
def test_a_setting_that_sets_nothing_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override({"seed": 1}, setting)


def test_an_unknown_key_names_the_nearest(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning_rat.*Did you mean 'learning_rate'"):
        load_config(path, ["training.learning_rat=1"])


def test_all_faults_are_told_at_once(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["training.epochs=0", "training.batchsize=3", "seed=-1"])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", "is no YAML"),
        ("a: 1\na: 2", "is no YAML"),
        ("- 1", "no mapping"),
        ("", "no mapping"),
        ("\xff", "is no YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        read_yaml(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"train": None, "validation": None}, "exactly one of"),
        ({"log": "x"}, "exactly one of"),
        ({"validation": None}, "`train` needs `validation`"),
        ({"split": {"kind": "user"}}, "`split` divides"),
        ({"train": None, "validation": None, "log": "x"}, "`log` needs `split`"),
        ({"train": None, "query": "SELECT 1"}, "`query` needs `split`"),
        (
            {"train": None, "log": "x", "split": {"kind": "user"}},
            "go with `train`, not with `split`",
        ),
        ({"tables": {"items": "x"}}, "does not declare"),
    ],
)
def test_a_log_that_is_not_clear_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(RunConfig, _tree(data=data))


def test_a_declared_table_without_a_path_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.tables lacks the path of 'items'"):
        load_config(path, ["data.tables={}"])


def test_a_weight_for_no_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="'clik', which is no task"):
        parse(RunConfig, _tree(balance={"kind": "static", "weights": {"clik": 1.0}}))


def test_the_data_root_is_the_files_own_folder_unless_said(tmp_path: Path) -> None:
    plain = DataConfig(train="a", validation="b")
    assert data_root(plain, tmp_path, {}) == tmp_path
    assert data_root(plain, tmp_path, {"POLYRANK_DATA": "/somewhere"}) == Path("/somewhere")
    rooted = DataConfig(root="sub", train="a", validation="b")
    assert data_root(rooted, tmp_path, {"POLYRANK_DATA": "/somewhere"}) == tmp_path / "sub"

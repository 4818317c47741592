"""The settings of fine-tuning and backtest, where they come from, their checks, and splitting by time."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from kronos.finetune.config import FinetuneConfig, describe, hints
from kronos.klines.time_splits import COLUMNS, cut_dates, split_by_time
from tests import backtest_bars

ROOT = Path(__file__).parents[2]


def documented() -> Any:
    spec = importlib.util.spec_from_file_location("finetune_script_config", ROOT / "finetune" / "config.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Config()


def test_the_scripts_config_has_only_known_settings_and_its_values_are_the_defaults() -> None:
    edited = documented()
    config = FinetuneConfig.from_object(edited)
    assert config == FinetuneConfig().replace(comet_config=edited.comet_config)
    assert (config.lookback_window, config.predict_window, config.batch_size, config.epochs) == (90, 10, 50, 30)
    assert (config.n_train_iter, config.n_val_iter) == (100_000, 20_000)
    assert config.backtest_benchmark == "SH000300"


def test_every_setting_is_described() -> None:
    assert [name for name, _, _ in describe()] == list(hints())
    assert all(about for _, _, about in describe())


def test_file_environment_and_set_override_in_this_order(tmp_path: Path) -> None:
    yaml = tmp_path / "settings.yaml"
    yaml.write_text("epochs: 1\nbatch_size: 1\nseed: 1\ntrain_time_range: [2011-01-01, 2022-12-30]\n")
    environ = {"KRONOS_FINETUNE_BATCH_SIZE": "2", "KRONOS_FINETUNE_SEED": "2", "OTHER": "x"}
    config = FinetuneConfig().with_overrides(["seed=3", 'comet_config={"workspace": "w"}'], yaml, environ)
    assert (config.epochs, config.batch_size, config.seed) == (1, 2, 3)
    assert config.train_time_range == ("2011-01-01", "2022-12-30")
    assert config.comet_config == {"workspace": "w"}


@pytest.mark.parametrize(
    ("pair", "name", "value"),
    [
        ("use_comet=true", "use_comet", True),
        ("use_comet=no", "use_comet", False),
        ("adam_beta1=0.5", "adam_beta1", 0.5),
        ("predictor_learning_rate=1e-5", "predictor_learning_rate", 1e-5),
        ("instrument=300", "instrument", "300"),
        ('comet_name="a name"', "comet_name", "a name"),
        ("trackers=tensorboard,wandb", "trackers", ("tensorboard", "wandb")),
        ('trackers=["wandb"]', "trackers", ("wandb",)),
        ("trackers=none", "trackers", ()),
        ("val_time_range=2022-09-01, 2024-06-28", "val_time_range", ("2022-09-01", "2024-06-28")),
    ],
)
def test_texts_are_read_as_the_type_of_the_setting(pair: str, name: str, value: object) -> None:
    assert getattr(FinetuneConfig().with_overrides([pair], environ={}), name) == value


def test_what_follows_from_a_setting_follows_it_when_overridden_and_not_when_set_apart() -> None:
    config = FinetuneConfig.from_object(documented())
    moved = config.with_overrides(
        ["save_path=elsewhere", "batch_size=10", "instrument=csi800", "region=us"], environ={}
    )
    assert moved.finetuned_predictor_path == "elsewhere/finetune_predictor_demo/checkpoints/best_model"
    assert moved.n_train_iter == 20_000
    assert moved.backtest_benchmark == "SH000906"
    assert moved.backtest_limit_threshold == 0
    assert config.replace(n_train_iter=7).replace(batch_size=10).n_train_iter == 7
    assert config.replace(test_time_range=("2024-04-01", "2025-01-31")).dataset_end_time == "2025-01-31"


def test_overrides_are_checked_together_and_not_one_by_one() -> None:
    config = FinetuneConfig().with_overrides(
        ["lookback_window=20"],
        environ={"KRONOS_FINETUNE_TRAIN_TIME_RANGE": "2024-01-01,2024-02-28"},
        val_time_range=("2024-03-01", "2024-03-31"),
        test_time_range=("2024-04-01", "2024-05-31"),
    )
    assert config.lookback_window == 20 and config.backtest_time_range == ("2024-04-01", "2024-05-31")


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("lookback_windw=5", "did you mean lookback_window"),
        ("lookback_window", "name=value"),
        ("lookback_window=many", "a whole number, found 'many'"),
        ("lookback_window=1", "at least 2"),
        ("batch_size=0", "above zero"),
        ("use_comet=perhaps", "true or false"),
        ("schedule=steep", "onecycle, cosine, constant"),
        ("adam_beta2=1", r"\[0, 1\)"),
        ("inference_top_p=0", r"\(0, 1\]"),
        ("backtest_n_symbol_drop=60", "at most backtest_n_symbol_hold"),
        ("feature_list=open,close", "the model takes no others"),
        ("backtest_save_folder_name=../x", "name of a folder"),
        ("train_time_range=2011-01-01", "a list of 2"),
        ("train_time_range=2011-01-01,soon", "two dates"),
        ("train_time_range=2022-12-31,2011-01-01", "reversed"),
        ("dataset_end_time=2025-01-01", "must lie within"),
        ("val_time_range=2015-01-01,2024-06-30", "overlap by a lookback"),
        ("val_time_range=2022-09-01,2022-12-01", "must end after"),
        ("backtest_time_range=2024-05-01,2025-06-05", "prove nothing"),
        ("backtest_time_range=2024-07-01,2025-06-06", "within"),
        ("train_time_range=2011-01-01T00:00+08:00,2022-12-31", "two dates"),
    ],
)
def test_what_is_wrong_is_named(pair: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FinetuneConfig().with_overrides([pair], environ={})


def test_unknown_names_in_environment_file_and_object_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"KRONOS_FINETUNE_EPOCH: .*did you mean epochs"):
        FinetuneConfig().with_overrides(environ={"KRONOS_FINETUNE_EPOCH": "1"})
    yaml = tmp_path / "s.yaml"
    yaml.write_text("epoch: 3\n")
    with pytest.raises(ValueError, match="did you mean epochs"):
        FinetuneConfig().with_overrides(yaml=yaml, environ={})
    yaml.write_text("[1, 2]")
    with pytest.raises(ValueError, match="name: value"):
        FinetuneConfig().with_overrides(yaml=yaml, environ={})
    yaml.write_text("a: [")
    with pytest.raises(ValueError, match="no YAML"):
        FinetuneConfig().with_overrides(yaml=yaml, environ={})
    with pytest.raises(ValueError, match="no such file"):
        FinetuneConfig().with_overrides(yaml=tmp_path / "absent.yaml", environ={})
    edited = documented()
    edited.lookbak_window = 3  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="did you mean lookback_window"):
        FinetuneConfig.from_object(edited)


def test_a_lookback_overlap_as_documented_gives_ranges_of_targets_that_do_not_overlap() -> None:
    ranges = FinetuneConfig().target_ranges()
    assert ranges == {
        "train": ("2011-01-01", "2022-12-31"),
        "val": ("2023-01-01", "2024-06-30"),
        "test": ("2024-07-01", "2025-06-05"),
    }


def test_the_key_of_a_tracker_is_not_written_down() -> None:
    assert "secret" not in str(FinetuneConfig(comet_config={"api_key": "secret", "workspace": "w"}).to_dict())


def table() -> pd.DataFrame:
    return backtest_bars.long_table(backtest_bars.market(3))


def test_parts_hold_their_targets_and_a_lookback_before_them() -> None:
    whole = table()
    before = whole.copy()
    splits = split_by_time(
        whole, {name[:-11]: pair for name, pair in backtest_bars.RANGES.items()}, lookback=20, least=25
    )
    splits.check()
    pd.testing.assert_frame_equal(whole, before)
    assert not splits.dropped
    for part, rows in splits.parts.items():
        first, last = (pd.Timestamp(t) for t in backtest_bars.RANGES[f"{part}_time_range"])
        assert list(rows.columns) == list(COLUMNS)
        for symbol, mine in rows.groupby("symbol"):
            all_rows = whole[whole["symbol"] == symbol]
            inside = all_rows[(all_rows["timestamp"] >= first) & (all_rows["timestamp"] <= last)]
            assert len(mine) == len(inside) + (0 if part == "train" else 20)
            pd.testing.assert_frame_equal(mine.tail(len(inside)).reset_index(drop=True), inside.reset_index(drop=True))
        targets = rows.loc[splits.targets[part], "timestamp"]
        assert targets.min() >= first and targets.max() <= last
    assert sum(cast(int, line["targets"]) for line in splits.report()) == len(
        whole[whole["timestamp"] <= pd.Timestamp("2024-10-04")]
    )


def test_symbols_with_too_few_rows_in_a_part_are_left_out_of_it_with_the_reason() -> None:
    series = backtest_bars.market(3)
    series["SYN001"] = series["SYN001"].iloc[:100]
    splits = split_by_time(
        backtest_bars.long_table(series), {n[:-11]: p for n, p in backtest_bars.RANGES.items()}, lookback=20, least=45
    )
    assert {(d.part, d.symbol) for d in splits.dropped} == {("test", "SYN001"), ("val", "SYN001")}
    assert "no rows" in splits.dropped[0].reason
    assert set(splits.parts["test"]["symbol"]) == {"SYN000", "SYN002"}


def test_the_leak_check_names_the_first_bar_that_is_a_target_twice() -> None:
    ranges = {"train": ("2024-01-01", "2024-05-31"), "val": ("2024-05-30", "2024-07-31")}
    with pytest.raises(ValueError, match=r"SYN000 at 2024-05-30.* is a target in train and in val \(6 such bars\)"):
        split_by_time(table(), ranges, 20, 25).check()


def test_the_leak_check_finds_targets_before_those_of_an_earlier_part() -> None:
    ranges = {"train": ("2024-05-01", "2024-05-31"), "val": ("2024-01-01", "2024-03-31")}
    with pytest.raises(ValueError, match="is a target in val, but train has targets up to"):
        split_by_time(table(), ranges, 2, 5).check()


def test_a_last_date_means_the_whole_day_and_a_zone_is_kept() -> None:
    whole = table()
    whole["timestamp"] = whole["timestamp"].dt.tz_localize("Asia/Shanghai") + pd.Timedelta(hours=15)
    splits = split_by_time(whole, {"train": ("2024-01-01", "2024-01-05"), "val": ("2024-01-08", "2024-01-12")}, 2, 3)
    assert splits.parts["train"]["timestamp"].dt.day.max() == 5
    assert str(splits.parts["val"]["timestamp"].dt.tz) == "Asia/Shanghai"
    splits.check()


def test_unsorted_tables_and_reversed_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted by symbol and time"):
        split_by_time(table().iloc[::-1], {"train": ("2024-01-01", "2024-02-01")}, 2, 3)
    with pytest.raises(ValueError, match="reversed"):
        split_by_time(table(), {"train": ("2024-02-01", "2024-01-01")}, 2, 3)
    with pytest.raises(ValueError, match="lacks the columns symbol"):
        split_by_time(table().drop(columns="symbol"), {}, 2, 3)


def test_dates_are_cut_by_shares_at_the_same_days_for_all_symbols() -> None:
    whole = table()
    ranges = cut_dates(whole, (0.5, 0.25, 0.25))
    splits = split_by_time(whole, ranges, 10, 20)
    splits.check()
    counts = {part: int(splits.targets[part].sum()) for part in splits.parts}
    assert counts == {"train": 300, "val": 150, "test": 150}


def test_a_table_of_a_single_day_is_cut_between_bars() -> None:
    times = pd.date_range("2024-01-02 09:30", periods=100, freq="min")
    whole = pd.DataFrame({"symbol": "A", "timestamp": times, **{c: np.arange(100.0) for c in COLUMNS[2:]}})
    splits = split_by_time(whole, cut_dates(whole), 5, 6)
    splits.check()
    assert [int(splits.targets[p].sum()) for p in splits.parts] == [70, 15, 15]


def test_shares_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        cut_dates(table(), (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="give more bars"):
        cut_dates(table().head(2))

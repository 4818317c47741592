"""What the tools of assistants answer and refuse; the protocol around them is tested in test_mcp.py."""

import threading
import time

import pandas as pd
import pytest

import kronos
from kronos.klines.read_options import ReadOptions
from kronos.serving.config import Limits
from kronos.serving.mcp_tools import BarSource, Places, Tools
from kronos.serving.problems import Problem
from kronos.serving.schemas import RequestOptions
from kronos.serving.work import LoadedModel


@pytest.fixture(scope="module")
def offered(golden):
    predictor = kronos.load(golden / "tiny", device="cpu", max_context=32)
    return {"tiny": LoadedModel("tiny", predictor)}


@pytest.fixture
def folder(tmp_path, golden):
    bars = pd.read_csv(golden / "tiny" / "bars.csv")
    (tmp_path / "prices" / "deep").mkdir(parents=True)
    bars.to_csv(tmp_path / "prices" / "a.csv", index=False)
    bars.to_csv(tmp_path / "prices" / "deep" / "b.csv", index=False)
    bars.to_csv(tmp_path / "secret.csv", index=False)
    bars.assign(high=0.0).to_csv(tmp_path / "prices" / "faulty.csv", index=False)
    (tmp_path / "prices" / "notes.md").write_text("x")
    return tmp_path / "prices"


@pytest.fixture
def tools(offered, folder):
    return Tools(offered, folder, Limits(body=10_000, paths=20, horizon=12, work=300, timeout=30))


def options(**members):
    return RequestOptions(**{"horizon": 4, "paths": 5, "lookback": 20, **members})


def refused(call, *arguments):
    with pytest.raises(Problem) as found:
        call(*arguments)
    return found.value


def test_the_files_of_the_folder_are_listed_by_their_names_from_there(tools):
    assert tools.check(BarSource())["files"] == ["a.csv", "faulty.csv", "deep/b.csv"]


def test_a_forecast_of_a_file_is_that_of_the_predictor(tools, offered, folder):
    found = tools.forecast(BarSource("deep/b.csv"), options(seed=3))
    direct = offered["tiny"].predictor.forecast(
        folder / "deep" / "b.csv", horizon=4, lookback=20, sample_count=5, seed=3, verbose=False
    )
    assert [row["mean"] for row in found["forecast"]] == pytest.approx(direct.mean()["close"].tolist())
    assert found["id"] == "b" and found["summary"]["prob_up"] == direct.prob_up().iloc[0]


@pytest.mark.parametrize("name", ["../secret.csv", "deep/../../secret.csv", "/etc/passwd", ".", "", "link.csv"])
def test_no_name_leads_out_of_the_folder(tools, folder, name):
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    assert "does not lie in the folder" in refused(tools.check, BarSource(name)).detail


def test_a_file_that_is_not_there_is_refused_with_those_that_are(tools):
    problem = refused(tools.forecast, BarSource("c.csv"), options())
    assert problem.detail == "no file 'c.csv' in the folder: it has a.csv, faulty.csv, deep/b.csv"


def test_without_a_folder_no_file_is_read(offered):
    assert "no folder was named" in refused(Tools(offered, None).check, BarSource("a.csv")).detail


def test_faults_of_a_file_are_told_with_their_rows(tools):
    found = tools.check(BarSource("faulty.csv"))
    assert found["ok"] is False and found["faults"][0]["rows"][0] == 1
    assert refused(tools.forecast, BarSource("faulty.csv"), options()).more["faults"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"horizon": 13}, "horizon is 13; at most 12"),
        ({"paths": 21}, "paths is 21; at most 20"),
        ({"horizon": 12, "paths": 20, "holdout": 13}, "holdout is 13; at most 12"),
        ({"timeout": 31}, "timeout is 31; at most 30"),
        ({"model": "base"}, "no model 'base' here"),
    ],
)
def test_a_forecast_beyond_the_limits_is_refused(tools, members, message):
    assert message in refused(tools.forecast, BarSource("a.csv"), options(**members)).detail


def test_an_evaluation_beyond_the_limits_is_refused(tools):
    assert "at most 300 are allowed" in refused(tools.evaluate, BarSource("a.csv"), options(), 16).detail
    assert "windows is 201" in refused(tools.evaluate, BarSource("a.csv"), options(), 201).detail


def test_a_file_beyond_the_limit_is_not_read(offered, folder):
    small = Tools(offered, folder, Limits(body=100))
    assert refused(small.check, BarSource("a.csv")).code == "too-large"


def test_an_evaluation_says_in_words_how_it_went(tools):
    found = tools.evaluate(BarSource("a.csv"), options(horizon=2), 4)
    assert found["windows"] == 4 and found["error_over_last_price"] > 0
    assert found["verdict"][-1] == "Past accuracy is no promise, and this is no advice."


def test_work_ends_at_its_deadline(offered, folder):
    with pytest.raises(Problem) as found:
        Tools(offered, folder, Limits(timeout=0.001)).forecast(BarSource("a.csv"), options(horizon=12))
    assert found.value.code == "deadline"


def test_work_ends_when_it_is_told_to(tools):
    calls = []

    def stop():
        calls.append(1)
        raise Problem(499, "gone", "cancelled")

    assert refused(lambda: tools.forecast(BarSource("a.csv"), options(), stop)).code == "cancelled"
    assert len(calls) == 1


def test_one_call_more_than_there_are_places_is_refused():
    places, inside, leave = Places(1), threading.Event(), threading.Event()

    def call():
        with places:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(10)
    began = time.monotonic()
    with pytest.raises(Problem, match="as many calls as it can take"), places:
        pass
    assert time.monotonic() - began < 1
    leave.set()
    thread.join()
    with places:
        pass


def test_a_symbol_that_is_not_there_is_refused(tools):
    assert "symbol" in refused(tools.forecast, BarSource("a.csv", None, ReadOptions(symbol="X")), options()).detail

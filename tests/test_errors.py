"""Messages of errors, as Python, the command line and the service spell their arguments."""

import ast
import pickle
import re
from pathlib import Path

import pandas as pd
import pytest

import kronos
from kronos.cli.errors import as_options, option_of
from kronos.errors import Argument, KronosError, KronosWarning, Message, message_of
from kronos.klines import KlineError, read_klines
from kronos.serving.problems import member_of

SPELLINGS = [
    (Argument("encoding"), "encoding=", "--encoding", '"encoding"'),
    (Argument("clean", "drop"), 'clean="drop"', "--clean drop", '"clean": "drop"'),
    (Argument("decimal", ","), 'decimal=","', "--decimal ,", '"decimal": ","'),
    (Argument("thousands", "'"), 'thousands="\'"', "--thousands ''\"'\"''", '"thousands": "\'"'),
    (Argument("overwrite", True), "overwrite=True", "--overwrite", '"overwrite": true'),
    (Argument("calendar", None), "calendar=None", "no --calendar", "no calendar"),
    (Argument("names", ["date", ...]), 'names=["date", ...]', "--names date,...", '"names": ["date", "..."]'),
    (Argument("columns", {"My Price": "close"}), 'columns={"My Price": "close"}', "--map 'close=My Price'",
     '"columns": "close=My Price"'),
    (Argument("columns", {"a": "open", "b": "close"}), 'columns={"a": "open", "b": "close"}',
     "--map open=a --map close=b", '"columns": "open=a,close=b"'),
    (Argument("backtest_n_symbol_hold", 20), "backtest_n_symbol_hold=20", "--set backtest_n_symbol_hold=20",
     '"backtest_n_symbol_hold": 20'),
]  # fmt: skip


@pytest.mark.parametrize(("argument", "python", "option", "member"), SPELLINGS)
def test_argument_is_spelled_by_each_front_end(argument, python, option, member):
    message = Message("take ", argument, " instead")
    assert str(KronosError(message)) == f"take {python} instead"
    assert message.spelled(option_of) == f"take {option} instead"
    assert message.spelled(member_of) == f"take {member} instead"


def test_message_in_a_message_keeps_its_arguments():
    inner = KlineError("line 3: ", Argument("decimal", "."))
    outer = KlineError("a.csv: ", inner.message, "\nmore")
    assert outer.summary.spelled(option_of) == "a.csv: line 3: --decimal ."
    assert outer.arguments == ("decimal",) and str(outer).endswith("\nmore")


def test_error_sent_to_another_process_keeps_its_arguments():
    error = pickle.loads(pickle.dumps(KronosError("take ", Argument("tz", "UTC"))))
    assert error.message.spelled(option_of) == "take --tz UTC"


def test_message_of_any_exception_is_its_text():
    assert message_of(ValueError("plain")) == "plain"
    assert message_of(KeyError()) == "KeyError"
    assert as_options("plain") == "plain"


def test_every_error_and_warning_of_kronos_is_in_one_tree():
    from kronos.generation.prepared import KlineWarning
    from kronos.hub.pairing import PairWarning

    errors = (kronos.KlineError, kronos.CheckpointError, kronos.ConfigError)
    assert all(issubclass(error, KronosError) and issubclass(error, ValueError) for error in errors)
    assert issubclass(KlineWarning, KronosWarning) and issubclass(PairWarning, KronosWarning)


def test_reader_advises_in_the_words_of_python(tmp_path):
    rows = pd.DataFrame({"date": ["2024-01-02", "2024-01-03"], "open": 1.0, "high": 2.0, "low": 1.0, "clse": 1.5})
    rows.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(KlineError, match=r'map it with columns=\{"clse": "close"\}') as error:
        read_klines(tmp_path / "a.csv")
    assert "--map close=clse" in as_options(error.value.summary)
    advised = next(part.value for part in error.value.message.parts if isinstance(part, Argument))
    assert len(read_klines(tmp_path / "a.csv", columns=advised)) == 2


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("a,b,c,d,e,f", "--map timestamps=a --map open=b --map high=c --map low=d --map close=e"),
        ("x,y,z,w,v", "--map timestamps=x --map open=y --map high=z --map low=w --map close=v"),
        ("t,o,h,l,x", "--map close=x"),
        ("date,open,high,low,Clse", "--map close=Clse"),
        ("date,erster Preis,hochst,tiefst,Schluss", "--map 'open=erster Preis'"),
        ("a,b", "a table of closes alone is read with --map timestamps=a --map close=b --close-only"),
        ("when,Kurs", "a table of closes alone is read with --map timestamps=when --close-only"),
        ("date,nav", "a table of closes alone is read with --map close=nav --close-only"),
        ("date,close", "a table of closes alone is read with --close-only"),
        ("words", "a table has a column for each, and one of closes alone a time and a close"),
    ],
)
def test_refused_columns_come_with_a_mapping_that_reads_the_table(header, advice, tmp_path):
    names = header.split(",")
    values = ["2024-01-02", "10", "11", "9", "10.5", "100"]
    rows = [["2024-01-0" + str(day), *values[1 : len(names)]] for day in (2, 3, 4)]
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    with pytest.raises(KlineError) as error:
        read_klines(tmp_path / "a.csv")
    assert as_options(error.value.summary).endswith(advice)
    arguments = {part.name: part.value for part in error.value.message.parts if isinstance(part, Argument)}
    if arguments:
        assert len(read_klines(tmp_path / "a.csv", **arguments)) == 3


def test_no_library_message_spells_an_option():
    # Front ends and what they alone call may; the library names an Argument.
    fronts = ("cli", "serving", "finetune/overrides.py", "finetune/run.py")
    package, found = Path(kronos.__file__).parent, []
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        if name.startswith(fronts):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                texts = [
                    n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
                found += [f"{name}: {text}" for text in texts if re.search(r"(^|[\s(])--[a-z]", text)]
    assert [text for text in found if "ray start --head" not in text] == []

"""Resumable output folders, on disk and in object storage."""

import json
import uuid
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from kronos.io.atomic import inputs_kept
from kronos.io.run_folder import RunFolder
from kronos.io.storage import Storage

SETTINGS: dict[str, Any] = {"seed": 0, "data": {"files": 2}, "levels": (0.1, 0.9)}
OWNS = ("parts/*.bin", "summary.csv")


@pytest.fixture(params=["disk", "object storage"])
def place(request, tmp_path: Path) -> str:
    """A folder that does not exist yet, nor its parent."""
    if request.param == "disk":
        return str(tmp_path / "new" / "out")
    if int(pyarrow.__version__.split(".")[0]) < 21:
        pytest.skip("pyarrow knows addresses fsspec+memory:// since 21")
    return f"fsspec+memory://{uuid.uuid4().hex}/out"


def opened(place: object, **changes: object) -> RunFolder:
    arguments = {"settings": SETTINGS, "owns": OWNS, **changes}
    return RunFolder(place, **arguments)  # type: ignore[arg-type]


def files(place: str) -> dict[str, bytes | None]:
    storage = Storage(place)
    return {entry.name: storage.read(entry.name) for entry in storage.list()}


def settings_of(place: str) -> dict[str, Any]:
    written = files(place)["settings.json"]
    assert written is not None
    return json.loads(written)


def test_new_folder_is_made_with_parents_and_settings(place):
    opened(place)
    assert list(files(place)) == ["settings.json"]
    assert settings_of(place) == {"seed": 0, "data": {"files": 2}, "levels": [0.1, 0.9]}


def test_record_of_another_name_is_written(place):
    opened(place, record="signals.json")
    assert list(files(place)) == ["signals.json"]


def test_written_part_is_done_after_reopening(place):
    assert not opened(place).is_done("parts/1.bin")
    opened(place).write("parts/1.bin", b"one")
    again = opened(place)
    assert again.is_done("parts/1.bin") and again.read("parts/1.bin") == b"one"
    assert not again.is_done("parts/2.bin") and again.read("parts/2.bin") is None
    assert again.done("parts/*.bin") == ["parts/1.bin"]


def test_folder_is_not_a_done_part(place):
    opened(place).write("parts/1.bin", b"one")
    assert not opened(place).is_done("parts")


def test_differing_settings_are_named_with_both_values(place):
    opened(place)
    with pytest.raises(ValueError, match=r"seed was 0 and is 1, data\.files was 2 and is 3; .*overwrite=True"):
        opened(place, settings={**SETTINGS, "seed": 1, "data": {"files": 3}})
    assert settings_of(place)["seed"] == 0


def test_setting_of_none_is_the_same_as_no_setting(place):
    opened(place, settings={**SETTINGS, "dropped": None})
    opened(place, settings={**SETTINGS, "added": None})
    assert "added" in settings_of(place)


def test_added_and_missing_settings_are_named(place):
    opened(place)
    with pytest.raises(ValueError, match=r"extra was None and is 1, seed was 0 and is None"):
        opened(place, settings={"data": {"files": 2}, "levels": [0.1, 0.9], "extra": 1})


def test_many_and_long_differences_stay_one_short_line(place):
    opened(place, settings={**SETTINGS, **{f"s{i}": "x" * 500 for i in range(9)}})
    with pytest.raises(ValueError, match=r"s0 was 'xxx.*\.\.\. and is None.* and 6 more;") as caught:
        opened(place)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


def test_free_settings_may_differ_and_are_updated(place):
    opened(place)
    opened(place, settings={**SETTINGS, "seed": 7}, free=("seed",))
    assert settings_of(place)["seed"] == 7


def test_overwrite_clears_owned_files_only(place):
    run = opened(place, shared=("report.html",))
    for name in ("parts/1.bin", "summary.csv", "report.html"):
        run.write(name, b"before")
    opened(place, settings={**SETTINGS, "seed": 1}, overwrite=True, shared=("report.html",))
    assert list(files(place)) == ["report.html", "settings.json"]
    assert settings_of(place)["seed"] == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_foreign_files_is_refused_with_names(place, overwrite):
    Storage(place).write("notes/a.txt", b"mine")
    Storage(place).write("parts/1.bin", b"not of a run that is known")
    before = files(place)
    with pytest.raises(ValueError, match=r"holds other files.*: notes/a\.txt, parts/1\.bin; give"):
        opened(place, overwrite=overwrite)
    assert files(place) == before


def test_overwrite_deletes_nothing_where_a_foreign_file_lies(place):
    opened(place).write("parts/1.bin", b"one")
    Storage(place).write("parts/deep/1.bin", b"mine")
    before = files(place)
    with pytest.raises(ValueError, match=r"parts/deep/1\.bin"):
        opened(place, settings={**SETTINGS, "seed": 1}, overwrite=True)
    assert files(place) == before


def test_foreign_file_does_not_stop_a_run_from_going_on(place):
    opened(place).write("parts/1.bin", b"one")
    Storage(place).write("notes.txt", b"mine")
    assert opened(place).is_done("parts/1.bin")


def test_shared_files_do_not_stop_a_run_from_beginning(place):
    for name in ("log.txt", "wandb/run-1/files/a.json"):
        Storage(place).write(name, b"of another step")
    opened(place, shared=("log.*", "wandb/"), overwrite=True)
    assert sorted(files(place)) == ["log.txt", "settings.json", "wandb/run-1/files/a.json"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"seed": 0, "da', "cannot be read as JSON"),
        (b"", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[1, 2]", "does not hold the settings of such a run"),
        (b'{"editor.tabSize": 4}', "does not hold the settings of such a run"),
    ],
)
def test_torn_or_foreign_settings_are_refused_in_a_line(place, content, says, overwrite):
    Storage(place).write("settings.json", content)
    with pytest.raises(ValueError, match=says) as caught:
        opened(place, overwrite=overwrite)
    assert "\n" not in str(caught.value) and "settings.json" in str(caught.value)
    assert files(place) == {"settings.json": content}


def test_clear_of_a_pattern_leaves_the_other_parts(place):
    run = opened(place)
    run.write("parts/1.bin", b"one")
    run.write("summary.csv", b"all")
    run.clear("parts/*.bin")
    assert list(files(place)) == ["settings.json", "summary.csv"]


def test_cleared_folders_are_gone_from_disk(tmp_path):
    run = opened(tmp_path / "out")
    run.write("parts/1.bin", b"one")
    run.clear()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["settings.json"]


def test_remove_leaves_a_folder_with_foreign_files(tmp_path):
    run = opened(tmp_path / "out")
    run.write("parts/1.bin", b"one")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run.remove()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    (tmp_path / "out" / "notes.txt").unlink()
    opened(tmp_path / "out").remove()
    assert list(tmp_path.iterdir()) == []


def test_file_instead_of_a_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match=r"out is a file; give a folder"):
        opened(tmp_path / "out", overwrite=True)


def test_input_of_the_command_is_not_cleared(tmp_path):
    run = opened(tmp_path)
    run.write("parts/1.bin", b"one")
    with inputs_kept([tmp_path / "parts"]), pytest.raises(ValueError, match="which is read"):
        run.clear()
    assert run.is_done("parts/1.bin")


def test_hidden_files_are_neither_foreign_nor_cleared(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"x")
    opened(tmp_path, owns=("*",)).clear()
    assert (tmp_path / ".DS_Store").is_file()


def test_failed_write_leaves_the_part_before(tmp_path, monkeypatch):
    run = opened(tmp_path)
    run.write("summary.csv", b"before")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        run.write("summary.csv", b"after")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json", "summary.csv"]
    assert run.read("summary.csv") == b"before"

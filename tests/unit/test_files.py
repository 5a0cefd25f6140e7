"""Files appear whole, hold no NaN, and damaged ones are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from spincross import files
from spincross.errors import BadInput, MissingInput, StaleData


def test_json_is_sorted_and_numpy_values_become_plain(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": np.float64(1.5), "a": np.arange(2)})
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    assert json.loads(path.read_text()) == {"a": [0, 1], "b": 1.5}


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "nonsense"])
def test_damaged_json_is_refused_with_the_path(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"broken\.json"):
        files.read_json(path)


@pytest.mark.parametrize("read", [files.read_json, files.read_arrays, files.read_xyz, files.sha256_of])
def test_a_file_that_is_not_there_is_called_missing_and_not_damaged(tmp_path, read):
    with pytest.raises(MissingInput, match=r"gone\.x is not there") as caught:
        read(tmp_path / "gone.x")
    assert caught.value.path == tmp_path / "gone.x"


def test_truncated_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    files.write_arrays(path, x=np.eye(50))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StaleData, match=r"a\.npz"):
        files.read_arrays(path)


def test_xyz_comes_back_to_ten_digits(tmp_path):
    positions = np.random.default_rng(0).normal(size=(3, 3))
    files.write_xyz(tmp_path / "a.xyz", ("C", "H", "H"), [positions], ["two\nlines"])
    symbols, read, comment = files.read_xyz(tmp_path / "a.xyz")
    assert symbols == ("C", "H", "H")
    assert comment == "two lines"
    np.testing.assert_allclose(read, positions, atol=1e-9)


@pytest.mark.parametrize("text", ["", "x\n\n", "2\n\nH 0 0 0\n", "1\n\nH 0 0\n", "1\n\nH 0 0 nan\n"])
def test_a_damaged_xyz_is_refused(tmp_path, text):
    path = tmp_path / "a.xyz"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"a\.xyz"):
        files.read_xyz(path)


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(files, "LIBRARIES", ("numpy", "no-such-library"))
    assert set(files.versions()) == {"spincross", "numpy"}


def test_fingerprint_does_not_depend_on_key_order():
    assert files.fingerprint({"a": 1, "b": 2}) == files.fingerprint({"b": 2, "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})


def test_a_failure_of_ours_ends_with_one_sentence_in_terminal_and_log(tmp_path):
    with pytest.raises(SystemExit, match="BadInput: wrong key"), files.logged(tmp_path / "log"):
        print("working")
        raise BadInput("wrong key")
    assert (tmp_path / "log").read_text() == "working\nBadInput: wrong key\n"


def test_a_log_on_a_full_disk_does_not_hide_what_it_was_to_hold(tmp_path, capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a device that is always full")
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(SystemExit, match="BadInput: wrong key"), files.logged(tmp_path / "log"):
        print("shown" * 10000, flush=True)
        raise BadInput("wrong key")
    assert "shown" in capsys.readouterr().out


def test_a_log_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SystemExit, match="CannotWrite: .*file/log cannot be written"),
        files.logged(tmp_path / "file/log"),
    ):
        pass


def test_tables_are_tab_separated_with_a_header_and_nothing_breaks_a_line(tmp_path):
    """White space inside a cell becomes one blank, a column that a row lacks stays empty."""
    files.write_table(tmp_path / "t.tsv", [{"a": 1, "b": "x\ty\nz"}, {"a": 2.5, "c": None}])
    assert (tmp_path / "t.tsv").read_text() == "a\tb\tc\n1\tx y z\t\n2.5\t\t\n"
    files.write_table(tmp_path / "t.tsv", [])
    assert (tmp_path / "t.tsv").read_text() == "\n"

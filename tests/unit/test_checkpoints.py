"""Restart data: a lock for one process, steps that survive a kill, orbitals to start from."""

import contextlib
import errno
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spincross import checkpoints
from spincross.errors import BadInput, CannotWrite, StaleData, Stopped


def step(number):
    """Return what is kept of a step of one atom, with its number."""
    return {
        "step": number,
        "positions_bohr": [[0, 0, 0]],
        "energy_hartree": -1.0,
        "gradient_hartree_per_bohr": [[0] * 3],
    }


def test_a_half_written_last_line_is_dropped_and_counted(tmp_path):
    path, header = tmp_path / "steps.jsonl", {"fingerprint": "x"}
    first = checkpoints.StepFile(path, header)
    for number in range(3):
        first.append(step(number))
    path.write_text(path.read_text()[:-5])
    again = checkpoints.StepFile(path, header)
    assert (again.steps, again.dropped) == ([step(0), step(1)], 1)
    again.append(step(2))
    assert checkpoints.StepFile(path, header).steps == first.steps


@pytest.mark.parametrize("other", [{"fingerprint": "y", "grid_level": 1}, {"fingerprint": "x", "grid_level": 2}, {}])
def test_steps_begun_for_something_else_are_refused(tmp_path, other):
    header = {"fingerprint": "x", "grid_level": 1}
    checkpoints.StepFile(tmp_path / "steps.jsonl", header).append(step(0))
    with pytest.raises(StaleData, match="another level, state or start geometry"):
        checkpoints.StepFile(tmp_path / "steps.jsonl", other)


def test_a_step_answers_for_its_geometry_alone(tmp_path):
    file = checkpoints.StepFile(tmp_path / "steps.jsonl", {})
    places = np.arange(6.0).reshape(2, 3)
    file.append(step(0) | {"positions_bohr": places.tolist()})
    assert file.find(places + 0.9 * checkpoints.SAME_GEOMETRY) == file.steps[0]
    assert file.find(places + 1.1 * checkpoints.SAME_GEOMETRY) is None


def test_stored_orbitals_come_back_in_single_precision(tmp_path):
    given = tuple(np.random.default_rng(0).normal(size=(5, n)) for n in (3, 2))
    checkpoints.store_orbitals(tmp_path / "orbitals.npz", given)
    for one, other in zip(given, checkpoints.load_orbitals(tmp_path / "orbitals.npz"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_blocks_took_is_added_up_over_all_starts(tmp_path, monkeypatch):
    """Parts of 2 and 3 s, 5 s of the block's own; a stop after the first part."""
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now[0])

    def taking(seconds):
        now[0] += seconds
        return {"x": np.zeros(1)}

    def whole(blocks, stop):
        blocks.keep("block.one", lambda: taking(2))
        if stop:
            raise Stopped("here")
        blocks.keep("block.two", lambda: taking(3))
        return taking(5)

    found = []
    for stop in (True, False, False):
        blocks, begin = checkpoints.Blocks(tmp_path, "key", lambda text: None), now[0]
        with contextlib.suppress(Stopped):
            blocks.keep("block", partial(whole, blocks, stop))
        found.append(now[0] - begin + blocks.seconds_before)
        now[0] += 100.0
    assert found == [2.0, 10.0, 10.0]


def test_what_a_kill_left_of_a_write_goes_with_its_part(tmp_path):
    blocks = checkpoints.Blocks(tmp_path, "key", lambda text: None)
    for name in (".columns.npz.12.npz", ".columns.response_0.npz.7.npz", ".fields.npz.9.npz"):
        (tmp_path / name).write_bytes(b"cut off")
    blocks.keep("columns", lambda: {"a": np.zeros(2)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".fields.npz.9.npz", "columns.npz"]


def test_two_runs_cannot_share_a_work_folder(tmp_path):
    with checkpoints.locked(tmp_path), pytest.raises(BadInput, match="in use"), checkpoints.locked(tmp_path):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_step_that_does_not_fit_is_named_and_not_counted(tmp_path):
    file = checkpoints.StepFile(tmp_path / "steps.jsonl", {"fingerprint": "x"})
    file.path = Path("/dev/full")
    with pytest.raises(CannotWrite, match="No space left"):
        file.append(step(0))
    assert file.steps == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_work_folder_that_exists_and_cannot_be_written_is_refused_by_its_lock(tmp_path, monkeypatch, code):
    def refuse(path, *arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CannotWrite, match=os.strerror(code)), checkpoints.locked(tmp_path):
        pytest.fail("went on in a folder that cannot be written")


def test_a_file_system_without_locks_is_said_and_does_not_refuse_for_ever(tmp_path, monkeypatch, capsys):
    def unable(handle, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(checkpoints.fcntl, "flock", unable)
    with checkpoints.locked(tmp_path):
        assert "cannot be locked (No locks available)" in capsys.readouterr().out


def test_lines_that_are_no_step_are_dropped(tmp_path):
    path = tmp_path / "steps.jsonl"
    checkpoints.StepFile(path, {"fingerprint": "x"}).append(step(0))
    path.write_bytes(path.read_bytes() + b'null\n1\n"text"\n\xff\xfe\x00\n{}\n[]\n{"step": 1}\n')
    found = checkpoints.StepFile(path, {"fingerprint": "x"})
    assert found.steps == [step(0)]
    assert found.dropped == 7

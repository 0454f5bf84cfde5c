from pathlib import Path

from trainer.journal import Journal


def test_what_is_committed_is_read_back(tmp_path: Path, group) -> None:
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    journal.commit(0, 2, [group([1.0, None])], {"loss": 0.5})
    (entry,) = Journal(journal.path).entries()
    assert (entry.step, entry.version, entry.metrics) == (0, 2, {"loss": 0.5})
    assert entry.groups == {"g-t": [("r0", "scored", 1.0), ("r1", "env_error", None)]}


def test_a_torn_last_line_is_cut_off(tmp_path: Path, group) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.commit(0, 2, [], {"loss": 0.5})
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + whole[: len(whole) // 2])
    reopened = Journal(journal.path)
    assert reopened.path.read_bytes() == whole
    reopened.commit(1, 3, [], {})
    assert [entry.step for entry in reopened.entries()] == [0, 1]


def test_a_step_done_again_counts_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for step, loss in ((0, 1.0), (1, 2.0), (1, 3.0)):
        journal.commit(step, step + 2, [], {"loss": loss})
    assert [(entry.step, entry.metrics["loss"]) for entry in journal.entries()] == [(0, 1.0), (1, 3.0)]


def test_a_run_is_new_once(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.jsonl")
    assert first.is_new and first.entries() == []
    assert not Journal(first.path).is_new, "begun before, though no step was finished"


def test_the_rollouts_of_a_step(tmp_path: Path, group) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.commit(0, 2, [group([1.0, None])], {})
    assert journal.entries()[0].rollout_ids == {"r0", "r1"}

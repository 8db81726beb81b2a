"""`declip-rt score --resume`: a run goes on where it stopped, and keeps what still holds."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.test_score import CALM, names, rows
from tests.conftest import Run, encoded, picture


def test_a_run_without_profiles_does_not_go_on_with_them(declip: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert declip("score", folder, "--out", out, "--no-icc").returncode == 0
    assert {row["icc"] for row in rows(out)} == {"ignored"}
    done = declip("score", folder, "--out", out, "--resume")
    assert done.returncode == 2
    assert b"has other columns" in done.stderr


def many(folder: Path, count: int) -> Path:
    made = folder / "many"
    made.mkdir()
    for seed in range(10):
        (made / f"{seed:04}.jpg").write_bytes(encoded(picture(seed, 500, 400)))
    for i in range(10, count):
        shutil.copy(made / f"{i % 10:04}.jpg", made / f"{i:04}.jpg")
    return made


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_killed_run_goes_on_where_it_stopped(declip: Run, tmp_path: Path, suffix: str) -> None:
    photos, out = many(tmp_path, 150), tmp_path / f"scores{suffix}"
    lines = tmp_path / "scores.parquet.journal.jsonl" if suffix == ".parquet" else out
    command = [sys.executable, "-m", "declip_rt", "score", str(photos), "--out", str(out), "--batch", "2"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (lines.exists() and lines.read_bytes().count(b"\n") > 20):
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    survived = names(rows(lines))
    assert 20 <= len(survived) < 150
    assert survived == [f"{i:04}.jpg" for i in range(len(survived))]

    done = declip("score", photos, "--out", out, "--resume")
    assert done.returncode == 0
    assert f"150 scored, 0 failed, {len(survived)} of them kept".encode() in done.stderr
    found = rows(out)
    assert names(found) == [f"{i:04}.jpg" for i in range(150)]
    for row in found[10:]:
        twin = found[int(names([row])[0][:4]) % 10]
        assert float(str(row["technical"])) == pytest.approx(float(str(twin["technical"])), abs=1e-5)


def test_resume_scores_changed_failed_and_new_files_again(declip: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    (folder / "bad.jpg").touch()
    assert declip("score", folder, "--out", out).returncode == 1
    (folder / "a.jpg").write_bytes(encoded(picture(50)))
    (folder / "bad.jpg").write_bytes(encoded(picture(51)))
    (folder / "new.jpg").write_bytes(encoded(picture(52)))
    before = {row["path"]: row["technical"] for row in rows(out)}
    done = declip("score", folder, "--out", out, "--resume")
    assert done.returncode == 0
    assert b"8 scored, 0 failed, 5 of them kept" in done.stderr
    assert len(done.stdout.splitlines()) == 1 + 8, "the table shows the kept rows too"
    after = {row["path"]: row["technical"] for row in rows(out)}
    assert len(rows(out)) == len(after) == 8
    changed = {Path(str(path)).name for path in after if after[path] != before.get(path)}
    assert changed == {"a.jpg", "bad.jpg", "new.jpg"}


def test_resume_leaves_rows_of_other_folders_alone(declip: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    declip("score", folder / "a.jpg", "--out", out)
    declip("score", folder / "b.jpg", "--out", out, "--resume")
    assert names(rows(out)) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("change", ['"technical":null', '"sharpness":null', '"percentile":1e999', '"width":null'])
def test_a_row_without_a_number_is_scored_again(declip: Run, folder: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "o.jsonl"
    assert declip("score", folder / "a.jpg", folder / "b.jpg", "--out", out).returncode == 0
    whole = rows(out)
    name = change.partition(":")[0]
    out.write_text(re.sub(rf"{name}:[^,}}]+", change, out.read_text(), count=1))
    done = declip("score", folder / "a.jpg", folder / "b.jpg", "--out", out, "--resume", "--html", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    assert b"1 of them kept" in done.stderr
    assert sorted(map(str, rows(out))) == sorted(map(str, whole))


def test_resume_keeps_rows_that_were_computed_alike_only(declip: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    assert declip("score", folder, "--out", out).returncode == 0
    assert {(row["precision"], row["decode_scale"]) for row in rows(out)} == {("fp32", "full")}
    assert b"6 of them kept" in declip("score", folder, "--out", out, "--resume").stderr
    assert b"kept" not in declip("score", folder, "--out", out, "--resume", "--decode-scale", "auto").stderr
    assert {row["decode_scale"] for row in rows(out)} == {"auto"}


def test_resume_keeps_rows_of_the_same_prompts_only(declip: Run, folder: Path, tmp_path: Path, prompted: Path) -> None:
    out = tmp_path / "o.csv"
    run = ("score", folder, "--model", prompted, "--out", out)
    assert declip(*run, *CALM).returncode == 0
    assert b"6 of them kept" in declip(*run, *CALM, "--resume").stderr
    before = [row["calm, still"] for row in rows(out)]
    done = declip(*run, "--prompts", "calm, still=a quiet night:a loud day", *CALM[2:], "--resume")
    assert done.returncode == 0
    assert b"kept" not in done.stderr, "the texts are others"
    assert [row["calm, still"] for row in rows(out)] != before
    whole = out.read_bytes()
    for others in ((), ("--prompts", "calm:busy")):
        done = declip(*run, *others, "--resume")
        assert done.returncode == 2
        assert b"other columns" in done.stderr
    assert out.read_bytes() == whole

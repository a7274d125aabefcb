"""A document in a file: one winner among processes, whole at every moment, and what cannot be one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from providers.base import NotFound, Refused, Transient
from providers.documents import file as files
from providers.documents.places import document
from providers.fenced import Document
from real.document_places import spec_of


def fence_at(place: str) -> Document:
    return document(spec_of("haproxy", fence=place))


async def test_a_file_is_never_seen_half_written_and_keeps_its_mode(tmp_path: Path) -> None:
    """Replaced by a rename in the same folder; who may read it may read the next one; nothing is left behind."""
    path = tmp_path / "chat.json"
    fence = fence_at(f"file:{path}")
    await fence.put("one", tag=None)
    path.chmod(0o640)
    before = path.stat().st_ino
    with path.open(encoding="utf-8") as reading:
        await fence.put("two", tag=(await fence.read()).tag)
        assert reading.read() == "one"
    assert (path.stat().st_ino != before, path.stat().st_mode & 0o777) == (True, 0o640)
    assert sorted(os.listdir(tmp_path)) == [".chat.json.lock", "chat.json"]


async def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that it leads to is replaced, where it lies, and its lock is one for both names."""
    (tmp_path / "real").mkdir()
    (tmp_path / "chat.json").symlink_to("real/chat.json")
    link, real = fence_at(f"file:{tmp_path}/chat.json"), fence_at(f"file:{tmp_path}/real/chat.json")
    await link.put("one", tag=None)
    await link.put("two", tag=(await real.read()).tag)
    assert (await real.read()).text == "two"
    assert (tmp_path / "chat.json").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["chat.json", "real"]


async def test_a_lock_that_is_held_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that hangs in its write does not hold this one for ever."""
    monkeypatch.setattr(files, "LOCK_S", 0.05)
    fence = fence_at(f"file:{tmp_path}/chat.json")
    with (tmp_path / ".chat.json.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Transient, match=r"was locked for 0\.05 s by another writer"):
            await fence.put("one", tag=None)
    await fence.put("one", tag=None)


async def test_writers_of_other_processes_have_one_winner_too(tmp_path: Path) -> None:
    """The lock is the host's, not the process's."""
    fence = fence_at(f"file:{tmp_path}/chat.json")
    await fence.put("zero", tag=None)
    program = (
        "import asyncio, sys\n"
        "from providers.documents.file import FileDocument\n"
        "from providers.documents.settings import Settings\n"
        "from providers.fenced import Overtaken\n"
        "fence = FileDocument(sys.argv[1], Settings(), 'it')\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: asyncio.run(fence.put(sys.argv[2], tag=sys.argv[3])); print('won')\n"
        "except Overtaken: print('lost')\n"
    )
    tag = (await fence.read()).tag
    assert tag
    arguments = [sys.executable, "-c", program, f"file:{tmp_path}/chat.json"]
    running = [
        subprocess.Popen([*arguments, f"writer {index}", tag], stdin=-1, stdout=-1, text=True, env=os.environ)  # noqa: ASYNC220
        for index in range(3)
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [(await asyncio.to_thread(each.communicate))[0] for each in running]
    assert sorted(said) == ["lost\n", "lost\n", "won\n"]
    assert (await fence.read()).text == f"writer {said.index('won' + chr(10))}"


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("nothing/chat.json", NotFound, "there is no folder"),
        ("folder", NotFound, "is a folder"),
        ("plain/chat.json", NotFound, "there is no folder"),
        ("binary", Refused, "is no text"),
        ("large", Refused, "more than 65536 bytes"),
    ],
)
async def test_a_file_that_cannot_be_one_says_why(tmp_path: Path, path: str, error: type[Exception], says: str) -> None:
    """Each mistake of the place has its cure."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    with pytest.raises(error, match=says):
        await fence_at(f"file:{tmp_path}/{path}").read()

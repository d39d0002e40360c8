"""Index jobs, as users see them: the command is started, killed and started again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from framesift.index import Index
from framesift.index.lock import WriterLock
from framesift.storyboard import standard, write_split
from framesift.web.app import create_app
from framesift.web.bodies import JobFacts
from framesift.web.job_store import Job, JobStore
from framesift.web.settings import Settings
from live_server import Command, serving

PATIENCE_S = 200.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``a/`` and ``b/`` with two videos each, and an empty index beside them."""
    paths = write_split(standard(4).videos, tmp_path / "a")
    (tmp_path / "b").mkdir()
    for path in paths[2:]:
        path.rename(tmp_path / "b" / path.name)
    Index.create(tmp_path / "my.index", model="storyboard-xpool").close()
    return tmp_path


def serve(folder: Path) -> Command:
    return Command(folder, "--index", "my.index", "--allow-folder", folder)


def here(folder: Path) -> AbstractContextManager[httpx.Client]:
    """The same in a thread of this process, which is ready at once."""
    settings = Settings(allow_folders=(folder,), state=folder / "state", cache=folder / "cache")
    return serving(create_app({"my": folder / "my.index"}, settings=settings))


def until(client: httpx.Client, job_id: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job, once it is as wanted."""
    end = time.monotonic() + PATIENCE_S
    while True:
        job = client.get(f"/api/jobs/{job_id}").json()
        if fits(job):
            return job
        assert time.monotonic() < end, job
        time.sleep(0.05)


def ended(job: dict[str, Any]) -> bool:
    return job["state"] in ("done", "failed", "cancelled")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def test_jobs_survive_a_killed_server_and_are_done_one_after_another(folder: Path) -> None:
    # the lock, as of another program's build: the first job waits, and cannot be over before the kill
    with serve(folder) as server, WriterLock(folder / "my.index"):
        first = server.client.post("/api/jobs", json={"paths": [str(folder / "a")]}).json()
        second = server.client.post("/api/jobs", json={"paths": [str(folder / "b")]}).json()
        same = server.client.post("/api/jobs", json={"paths": [str(folder / "b")]}).json()
        assert same["id"] == second["id"]
        waiting = until(server.client, first["id"], lambda job: "writing to the index" in job["message"])
        assert waiting["state"] == "running"
        assert server.client.get(f"/api/jobs/{second['id']}").json()["state"] == "queued"
        assert server.client.get("/api/indexes").json()["indexes"][0]["videos"] == 0
        processes = children(server.process.pid)
        server.end(signal.SIGKILL)
        end = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{pid}") for pid in processes):
            assert time.monotonic() < end, "a job's process outlived the server"
            time.sleep(0.05)
    with serve(folder) as server:
        done = [until(server.client, job["id"], ended) for job in (first, second)]
        assert [(job["state"], job["added"]) for job in done] == [("done", 2), ("done", 2)]
        assert done[0]["updated_at"] <= done[1]["updated_at"]
        assert server.client.get("/api/videos").json()["total"] == 4
        assert server.end() == 0
    with Index.open(folder / "my.index") as index:
        assert len({record.uri for record in index.videos()}) == len(index.videos()) == 4
        assert index.verify().problems == []


def test_a_job_is_followed_and_cancelled(folder: Path) -> None:
    (folder / "a" / "broken.mp4").write_bytes(b"no video")
    with here(folder) as client:
        with WriterLock(folder / "my.index"):
            job = client.post("/api/jobs", json={"paths": [str(folder / "a")]}).json()
            later = client.post("/api/jobs", json={"paths": [str(folder / "b")]}).json()
            until(client, job["id"], lambda job: "writing" in job["message"])
            assert client.delete(f"/api/jobs/{later['id']}").json()["state"] == "cancelled"
            client.delete(f"/api/jobs/{job['id']}")
            assert until(client, job["id"], ended)["state"] == "cancelled"
        assert client.delete(f"/api/jobs/{job['id']}").status_code == 409
        again = client.post("/api/jobs", json={"paths": [str(folder / "a")]}).json()
        with client.stream("GET", f"/api/jobs/{again['id']}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = [line for line in stream.iter_lines() if line.startswith("data: ")]
        assert '"state":"done"' in events[-1]
        done = client.get(f"/api/jobs/{again['id']}").json()
        assert (done["added"], done["num_failed"]) == (2, 1)
        JobFacts.model_validate(done)  # as the OpenAPI document says
        assert done["failed"][0]["name"] == "broken.mp4"
        assert done["failed"][0]["reason"]
        (listed,) = client.get("/api/videos", params={"status": "failed"}).json()["videos"]
        assert listed["error"] == done["failed"][0]["reason"]
        assert client.get(f"/api/videos/{listed['video_id']}/playable").json()["how"] == "none"
        tagged = client.put(f"/api/videos/{listed['video_id']}/tags", json={"tags": ["mend"]})
        assert tagged.json()["tags"] == ["mend"]
        for paths, status in ([], 400), (["a"], 400), (["/etc"], 403), ([str(folder / "none")], 400):
            assert client.post("/api/jobs", json={"paths": paths}).status_code == status, paths


def test_a_folder_is_watched_until_the_job_is_cancelled(folder: Path) -> None:
    new = folder / "new"
    new.mkdir()
    with here(folder) as client:
        asked = {"kind": "watch", "paths": [str(new)], "exclude": ["not-*"]}
        job = client.post("/api/jobs", json=asked).json()
        assert client.post("/api/jobs", json=asked).json()["id"] == job["id"]  # one is enough
        until(client, job["id"], lambda job: job["message"] == "watching")
        (folder / "a").rename(new / "a")
        (new / "broken.mp4").write_bytes(b"no video")
        (new / "not-me.mp4").write_bytes(b"no video")
        seen = until(client, job["id"], lambda job: job["added"] == 2 and job["num_failed"] == 1)
        assert seen["state"] == "running"
        assert [one["name"] for one in seen["failed"]] == ["broken.mp4"]
        assert client.get("/api/videos", params={"folder": str(new), "status": "ok"}).json()["total"] == 2
        client.delete(f"/api/jobs/{job['id']}")
        assert until(client, job["id"], ended)["state"] == "cancelled"


def test_a_second_server_leaves_the_jobs_to_the_first(tmp_path: Path) -> None:
    first, second = (JobStore(tmp_path, tmp_path / "my.index") for _ in range(2))
    assert (first.owned, second.owned) == (True, False)
    first.save(Job(id="1", index="my", kind="index", state="running", created_at=1.0))
    assert [job.id for job in second.jobs()] == ["1"]
    first.close()
    third = JobStore(tmp_path, tmp_path / "my.index")
    assert third.owned
    assert [job.state for job in third.requeue()] == ["queued"]
    second.close()
    third.close()

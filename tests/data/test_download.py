import os
import socket
import ssl
import subprocess
import sys
import time

import pytest
import trustme
from host import Host

from actionrec.data import download as module
from actionrec.data.download import DownloadError, download, require_connection, require_space

CONTENTS = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "big.rar"


def left(target):
    """Names of what lies where the download goes."""
    return sorted(path.name for path in target.parent.iterdir())


def interrupt(host, target, kept=400_000):
    """Download a part of CONTENTS, until the host gives no more bytes."""
    host.files["big.rar"] = CONTENTS
    host.break_after = [kept] + [0] * module.ATTEMPTS
    with pytest.raises(DownloadError, match=f"{kept:,} bytes are kept"):
        download(f"{host.url}/big.rar", target)
    assert left(target) == ["big.rar.part", "big.rar.part.json"]
    host.asked.clear()


@pytest.mark.parametrize("length", [True, False])
def test_a_file_is_downloaded_and_nothing_else_is_left(host, target, length):
    host.knows_length = length
    host.files["big.rar"] = CONTENTS
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS
    assert left(target) == ["big.rar"]


def test_a_file_that_is_there_is_not_asked_for(host, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == b"mine"
    assert host.asked == []


def test_an_interrupted_connection_is_resumed_where_it_broke(host, target):
    host.files["big.rar"] = CONTENTS
    host.break_after = [1000, 500_000]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS
    assert [header for _, header in host.asked] == [None, "bytes=1000-", "bytes=501000-"]


def test_the_next_run_resumes_an_interrupted_download(host, target):
    interrupt(host, target)
    download(f"{host.url}/big.rar", target)
    assert host.asked == [("/big.rar", "bytes=400000-")]
    assert target.read_bytes() == CONTENTS


@pytest.mark.parametrize(("validators", "contents"), [(True, CONTENTS[::-1]), (False, b"short")])
def test_another_file_under_the_same_address_starts_over(host, target, validators, contents):
    host.knows_validators = validators
    interrupt(host, target)
    host.files["big.rar"] = contents
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == contents


@pytest.mark.parametrize("lacks", ["knows_ranges", "knows_validators"])
def test_a_host_that_knows_less_still_gives_the_whole_file(host, target, lacks):
    setattr(host, lacks, False)
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS


def test_a_busy_host_is_tried_again(host, target, caplog):
    host.files["big.rar"] = CONTENTS
    host.answers = [503, 429, 500]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS
    assert caplog.messages[0] == "big.rar: the host answered 503 Service Unavailable; next attempt in 0 s"


def test_a_host_that_stays_busy_or_never_gets_further_is_given_up(host, target):
    host.answers = [503] * 6
    with pytest.raises(DownloadError, match=r"503 Service Unavailable. 6 attempts in a row brought no new bytes"):
        download(f"{host.url}/big.rar", target)
    assert left(target) == []
    host.knows_ranges = False
    host.files["big.rar"] = CONTENTS
    host.break_after = [500_000, 600_000] * 20
    with pytest.raises(DownloadError, match="6 attempts in a row brought no new bytes"):
        download(f"{host.url}/big.rar", target)


def test_a_file_that_is_not_there_is_asked_for_once(host, target):
    with pytest.raises(DownloadError) as caught:
        download(f"{host.url}/big.rar", target)
    assert str(caught.value) == f"{host.url}/big.rar cannot be downloaded: the host answered 404 Not Found."
    assert len(host.asked) == 1
    assert left(target) == []


def test_without_a_host_the_error_says_so(target, monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.0)
    with socket.socket() as nobody:  # bound, but listening to no one
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(DownloadError, match=r"no connection .*refused"):
            download(f"http://127.0.0.1:{nobody.getsockname()[1]}/big.rar", target)


def test_an_invalid_address_is_rejected(target):
    with pytest.raises(DownloadError, match="Correct the address"):
        download("ftp:/nowhere", target)


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def secure_host(authority, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    host = Host(context=context)
    host.files["big.rar"] = CONTENTS
    yield host
    host.close()


def test_a_certificate_that_cannot_be_verified_is_explained_and_never_ignored(secure_host, target):
    with pytest.raises(DownloadError) as caught:
        download(f"{secure_host.url}/big.rar", target)
    message = str(caught.value)
    assert "certificate verify failed" in message
    assert "REQUESTS_CA_BUNDLE" in message
    assert secure_host.asked == []
    assert left(target) == []


def test_a_custom_certificate_bundle_is_used_and_named_if_it_is_missing(secure_host, authority, target, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(DownloadError, match=r"/nowhere.pem.* If REQUESTS_CA_BUNDLE is set, check that its file exists\."):
        download(f"{secure_host.url}/big.rar", target)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    download(f"{secure_host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS


def test_a_disk_that_is_too_small_is_found_before_the_download(host, target, monkeypatch):
    host.files["big.rar"] = CONTENTS
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: module.shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(DownloadError, match=r"the rest of big.rar takes 0.0 GB, but .* has 0.0 GB free. Free some space"):
        download(f"{host.url}/big.rar", target)


def test_room_is_looked_for_on_the_disk_that_a_folder_will_be_on(tmp_path):
    require_space(tmp_path / "not" / "there" / "yet", 1, "a byte")
    with pytest.raises(DownloadError, match=r"everything takes 1000000000.0 GB"):
        require_space(tmp_path / "not" / "there", 10**18, "everything")


def test_processes_share_one_download_and_a_killed_one_is_continued(host, target):
    host.files["big.rar"] = CONTENTS * 50
    load = "from pathlib import Path; from actionrec.data.download import download"
    command = [sys.executable, "-c", f"{load}; download({f'{host.url}/big.rar'!r}, Path({str(target)!r}))"]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    first = subprocess.Popen(command, env=environment)
    part = target.with_name("big.rar.part")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not target.exists() and not (part.exists() and part.stat().st_size > 100_000):
        time.sleep(0.001)
    others = [subprocess.Popen(command, env=environment) for _ in range(2)]
    first.kill()
    first.wait()
    assert [process.wait() for process in others] == [0, 0]
    assert target.read_bytes() == CONTENTS * 50
    assert all(header for _, header in host.asked[1:])  # only the first request is for the whole file
    assert left(target) == ["big.rar"]


def test_a_web_page_instead_of_the_file_is_rejected_and_earlier_bytes_are_kept(host, target):
    interrupt(host, target)
    host.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="the host sent a web page, perhaps a login page"):
        download(f"{host.url}/big.rar", target)
    assert target.with_name("big.rar.part").stat().st_size == 400_000


def test_a_host_without_tls_is_not_blamed_for_its_certificate(host, target):
    with pytest.raises(DownloadError, match="no secure connection"):
        download(f"{host.url.replace('http:', 'https:')}/big.rar", target)


def test_a_host_that_takes_connections_is_not_asked_for_anything(host):
    require_connection(f"{host.url}/a", 5)
    assert host.asked == []


def test_a_name_that_is_never_looked_up_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(module.socket, "create_connection", lambda *_: time.sleep(5) or socket.socket())
    start = time.monotonic()
    with pytest.raises(
        DownloadError, match=r"^https://host\.invalid/a cannot be downloaded: no connection \(no answer from host\.inv"
    ):
        require_connection("https://host.invalid/a", 0.2)
    assert time.monotonic() - start < 2


def test_behind_a_proxy_it_is_the_proxy_that_must_answer(host, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("https_proxy", host.url)
    require_connection("https://host.invalid/a", 5)

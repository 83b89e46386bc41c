import logging
import os
import signal
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
SCRIPT = "from pathlib import Path; from actionrec.data.download import download; download({url!r}, Path({target!r}))"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "big.rar"


def left(target):
    """Names of what lies where the download goes."""
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_and_leaves_nothing_else(host, target):
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


def test_a_connection_that_breaks_off_is_resumed_where_it_broke(host, target, caplog):
    host.files["big.rar"] = CONTENTS
    host.break_after = [1000, 500_000]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS
    ranges = [wanted for _, wanted in host.asked]
    assert ranges == [None, "bytes=1000-", "bytes=501000-"]


def test_a_killed_download_goes_on_where_it_was(host, target):
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000] + [0] * module.ATTEMPTS
    with pytest.raises(DownloadError, match="400,000 bytes are kept"):
        download(f"{host.url}/big.rar", target)
    assert left(target) == ["big.rar.part", "big.rar.part.json"]
    host.asked.clear()
    download(f"{host.url}/big.rar", target)
    assert host.asked == [("/big.rar", "bytes=400000-")]
    assert target.read_bytes() == CONTENTS


def test_a_process_killed_in_mid_download_leaves_what_the_next_one_takes_up(host, target):
    host.files["big.rar"] = CONTENTS * 200
    script = SCRIPT.format(url=f"{host.url}/big.rar", target=str(target))
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "no_proxy": "127.0.0.1"})
    part = target.with_name("big.rar.part")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 100_000):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not target.exists():  # unless it was quicker than this test
        kept = part.stat().st_size
        host.asked.clear()
        download(f"{host.url}/big.rar", target)
        assert host.asked == [("/big.rar", f"bytes={kept}-")]
    assert target.read_bytes() == CONTENTS * 200


def test_another_file_under_the_same_address_starts_over_and_is_not_mixed(host, target):
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000] + [0] * module.ATTEMPTS
    with pytest.raises(DownloadError):
        download(f"{host.url}/big.rar", target)
    host.files["big.rar"] = CONTENTS[::-1]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS[::-1]


def test_a_file_that_became_shorter_starts_over(host, target):
    host.knows_validators = False
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000] + [0] * module.ATTEMPTS
    with pytest.raises(DownloadError):
        download(f"{host.url}/big.rar", target)
    host.files["big.rar"] = b"short"
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == b"short"


@pytest.mark.parametrize("lacks", ["knows_ranges", "knows_validators"])
def test_a_host_that_knows_less_still_gives_the_whole_file(host, target, lacks):
    setattr(host, lacks, False)
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000]
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS


def test_a_host_that_tells_no_length_is_believed_at_the_end(host, target):
    host.knows_length = False
    host.files["big.rar"] = CONTENTS
    download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS


def test_a_busy_host_is_asked_again(host, target, caplog):
    host.files["big.rar"] = CONTENTS
    host.answers = [503, 429, 500]
    with caplog.at_level(logging.WARNING):
        download(f"{host.url}/big.rar", target)
    assert target.read_bytes() == CONTENTS
    assert caplog.messages[0] == "big.rar: the host answered 503 Service Unavailable; next attempt in 0 s"


def test_a_host_that_stays_busy_is_given_up(host, target):
    host.answers = [503] * 100
    with pytest.raises(DownloadError, match=r"503 Service Unavailable. 6 attempts in a row brought no new bytes"):
        download(f"{host.url}/big.rar", target)
    assert left(target) == []


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


def test_a_custom_certificate_bundle_is_used(secure_host, authority, target, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(str(tmp_path / "bundle.pem"))
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


def test_two_processes_share_one_download(host, target):
    host.files["big.rar"] = CONTENTS * 50
    script = SCRIPT.format(url=f"{host.url}/big.rar", target=str(target))
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    processes = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert target.read_bytes() == CONTENTS * 50
    assert len(host.asked) == 1
    assert left(target) == ["big.rar"]


def test_a_web_page_instead_of_the_file_is_rejected_and_earlier_bytes_are_kept(host, target):
    host.files["big.rar"] = CONTENTS
    host.break_after = [400_000] + [0] * module.ATTEMPTS
    with pytest.raises(DownloadError):
        download(f"{host.url}/big.rar", target)
    host.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="the host sent a web page, perhaps a login page"):
        download(f"{host.url}/big.rar", target)
    assert target.with_name("big.rar.part").stat().st_size == 400_000


def test_a_host_that_never_gets_further_is_given_up(host, target):
    host.knows_ranges = False
    host.files["big.rar"] = CONTENTS
    host.break_after = [500_000, 600_000] * 20
    with pytest.raises(DownloadError, match="6 attempts in a row brought no new bytes"):
        download(f"{host.url}/big.rar", target)


def test_a_bundle_that_is_not_there_is_named(secure_host, target, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(DownloadError, match=r"/nowhere.pem.* If REQUESTS_CA_BUNDLE is set, check that its file exists\."):
        download(f"{secure_host.url}/big.rar", target)


def test_a_host_without_tls_is_not_blamed_for_its_certificate(host, target):
    with pytest.raises(DownloadError, match="no secure connection"):
        download(f"{host.url.replace('http:', 'https:')}/big.rar", target)


def test_a_host_that_takes_connections_is_not_asked_for_anything(host):
    require_connection(f"{host.url}/a", 5)
    assert host.asked == []


def test_a_name_that_is_never_looked_up_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(module.socket, "create_connection", lambda *_: time.sleep(5))
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

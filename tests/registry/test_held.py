"""What a stranger's code may do to the process: little that lasts."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError, ZooWarning
from zoo.registry.isolation import PluginError, isolated


def test_warnings_that_a_plugin_silences_are_heard_again() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("always", DeprecationWarning)
        before = [*warnings.filters]
        with isolated("x"):
            warnings.simplefilter("ignore")  # any
            warnings.filterwarnings("ignore", category=ZooWarning)  # ours
            warnings.filterwarnings("ignore", category=BytesWarning)  # others
            warnings.filterwarnings("ignore", "words of its own")
        added = [found for found in warnings.filters if found not in before]
        assert sorted(f[2].__name__ for f in added) == ["BytesWarning", "Warning"]
        assert [f[1] is None for f in added if f[2] is Warning] == [False]
        with pytest.warns(ZooWarning):
            warnings.warn("heard", ZooWarning, stacklevel=1)


def test_python_looks_at_the_filters_again() -> None:
    def tell() -> None:
        warnings.warn("heard", ZooWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        with isolated("x"):
            warnings.simplefilter("ignore")
            tell()
        tell()
    assert len(told) == 1


def test_the_streams_the_folder_and_the_signal_stay(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    here, out, err = Path.cwd(), sys.stdout, sys.stderr
    handler = signal.getsignal(signal.SIGINT)

    def work() -> None:
        os.chdir(tmp_path)
        print("python says")
        os.write(1, b"c says\n")
        sys.stdout, sys.stderr = None, None  # type: ignore[assignment]
        raise SystemExit(5)

    with pytest.raises(PluginError, match=r"^x: SystemExit: 5$"), isolated("x"):
        work()
    assert (Path.cwd(), sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)) == (here, out, err, handler)
    os.write(1, b"zoo says\n")
    found = capfd.readouterr()
    assert found.out == "zoo says\n"
    assert {"python says", "c says"} <= set(found.err.splitlines())


def test_what_is_still_in_a_buffer_goes_where_it_belongs(capfd: pytest.CaptureFixture[str]) -> None:
    import ctypes

    libc = ctypes.CDLL(None)

    def say(words: str) -> None:
        libc.puts(f"c {words}".encode())
        assert sys.__stdout__ is not None
        sys.__stdout__.write(f"python {words}\n")
        sys.stdout.write(f"stream {words}\n")

    say("before")
    with isolated("x"):
        say("within")
    libc.fflush(None)
    assert sys.__stdout__ is not None
    sys.__stdout__.flush()
    found = capfd.readouterr()
    for text, words in ((found.out, "before"), (found.err, "within")):
        assert sorted(text.splitlines()) == [f"{who} {words}" for who in ("c", "python", "stream")]


@pytest.mark.parametrize("what", ["x", ""])
def test_an_error_begins_with_what_was_done(what: str) -> None:
    with pytest.raises(PluginError) as caught, isolated(what):
        raise KeyError("y")
    assert caught.value.what == ("x: KeyError: 'y'" if what else "KeyError: 'y'")
    for error in (ZooError("mine"), MemoryError("mine")):
        with pytest.raises(type(error), match=r"^mine$"), isolated(what):
            raise error


def test_a_users_ctrl_c_goes_through_and_a_plugins_own_does_not() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
    try:
        with pytest.raises(PluginError, match="KeyboardInterrupt"), isolated("x"):
            raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt), isolated("x"):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with isolated("x"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    found: list[Any] = []

    def work() -> None:
        with isolated("x"):
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_folder_that_is_gone_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with isolated("x"):
        os.chdir(tmp_path)

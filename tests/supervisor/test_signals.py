"""Signals as bytes: none is lost, none is complained of."""

from __future__ import annotations

import os
import signal

import pytest

from pounce.supervisor.signals import HEEDED, Signals


def test_each_is_a_byte_and_afterwards_all_is_as_it_was() -> None:
    before = [signal.getsignal(number) for number in HEEDED]
    signals = Signals()
    with signals.installed():
        assert signals.read() == ()
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGHUP)
        assert sorted(signals.read()) == sorted([signal.SIGUSR2, signal.SIGHUP])
        assert signals.before == dict(zip(HEEDED, before, strict=True))
    assert [signal.getsignal(number) for number in HEEDED] == before


def test_one_at_the_very_end_is_not_complained_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    close = Signals.close

    def late(self: Signals) -> None:
        os.kill(os.getpid(), signal.SIGCHLD)  # as by a child that ends at this moment
        close(self)
        os.kill(os.getpid(), signal.SIGCHLD)

    monkeypatch.setattr(Signals, "close", late)
    with Signals().installed():
        pass
    assert capfd.readouterr().err == ""


def test_many_of_them_do_not_block(capfd: pytest.CaptureFixture[str]) -> None:
    signals = Signals()
    with signals.installed():
        for _ in range(1000):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert set(signals.read()) == {signal.SIGUSR1}
    assert capfd.readouterr().err == ""

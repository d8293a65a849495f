"""Which close codes may stand in a Close frame."""

from __future__ import annotations

from pounce.worker.wire.close_codes import may_be_sent


def test_registered_and_free_codes_may_be_sent_and_no_others() -> None:
    registered = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    assert {code for code in range(3000) if may_be_sent(code)} == registered
    assert all(may_be_sent(code) for code in range(3000, 5000))
    assert not any(may_be_sent(code) for code in (-1, 5000, 65535, 65536))

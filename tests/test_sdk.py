"""The SDKs for guests: their numbers are the host's."""

from __future__ import annotations

import make_sdk


def test_the_numbers_of_the_sdks_are_the_hosts() -> None:
    assert list(make_sdk.stale_numbers()) == [], "run: python tools/make_sdk.py numbers"

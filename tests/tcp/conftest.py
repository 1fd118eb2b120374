"""Explain failed assertions of the packet traces as pytest does those of tests."""

import pytest

pytest.register_assert_rewrite("packet_trace")

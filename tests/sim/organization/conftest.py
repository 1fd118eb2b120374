"""Explain failed assertions of the helper as pytest does those of tests."""

import pytest

pytest.register_assert_rewrite("moments")

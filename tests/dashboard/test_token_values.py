import numpy as np
import pytest

from dashboard.views.tokens.story import _write_defined


@pytest.mark.parametrize(("value", "text"), [(np.nan, "not defined"), (0.98765432, "0.9877"), (-1.0, "-1")])
def test_a_cosine_of_a_row_of_zeros_is_not_defined(value, text):
    assert _write_defined(value) == text

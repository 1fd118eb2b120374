"""Where a value is counted in a histogram with the layout of HdrHistogram, for compiled code.

The layout has two significant digits: values below 256 have a bucket each, and every further octave has 128. Knows no library: a
test compares it with the published one. Source: HdrHistogram (Gil Tene), `counts_index_for`.
"""

from netstack.jit.compilation import compiled

SIGNIFICANT_DIGITS = 2
HALF = 128  # buckets of an octave
OCTAVES = 30
HIGHEST_NS = (2 * HALF << OCTAVES) - 1
"""The highest value that is counted as it is: 274 s. What is longer counts as this."""
BUCKETS = (OCTAVES + 2) * HALF


@compiled
def bucket_of_value(value):
    """Return the bucket of a whole number from 0 on."""
    value = min(max(value, 0), HIGHEST_NS)
    octave = 0
    while value >= 2 * HALF:
        value >>= 1
        octave += 1
    return octave * HALF + value

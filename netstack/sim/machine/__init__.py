"""Everything that costs time: cores, caches, locks, the scheduler and NICs. Knows no TCP."""

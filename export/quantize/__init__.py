"""A float32 judge becomes one in 8 or 4 bits, one layer in memory at a time."""

"""Where the parts of a decoder are in its graph."""

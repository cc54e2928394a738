"""Jobs over many records: rows in, results out, resumable."""

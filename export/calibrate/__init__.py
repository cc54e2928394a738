"""What a judge's layers read and give over text, one layer in memory at a time."""

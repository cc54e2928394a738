"""Where checkpoints come from: finding files, refusing what cannot be a judge, holding weights against files."""

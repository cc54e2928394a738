"""What keeps a judge's session busy: prompt by prompt on every core, or batch by batch."""

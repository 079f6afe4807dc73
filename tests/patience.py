"""How long a test waits for what must happen; no measure of speed, for a test machine may be busy for a long time."""

PATIENCE_S = 100.0

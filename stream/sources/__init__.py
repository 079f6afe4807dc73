"""Where frames come from; each source is one file with `async for frame in source` and `aclose()`."""

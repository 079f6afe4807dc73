"""Our methods beside the published code: every case of a folder of reference vectors, one row each."""

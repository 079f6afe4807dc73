"""The command line: words for people. Each command is one file; the parts it needs are handed to it."""

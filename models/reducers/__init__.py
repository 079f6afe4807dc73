"""Between projector and language model: many ways to say a stretch of video in fewer rows, all in one socket.

`clip.py` holds the nouns, `registry.py` the names that a configuration may give, each other file one method in our own
words and code after its paper. `docs/methods.md` says what each is, where it comes from and when to choose it.
"""

"""The programs that a release of this module lists, by the host's operating system and processor."""

# (os, cpu) in the names of @platforms, to a struct of `urls` and `sha256`.
PREBUILT = {}

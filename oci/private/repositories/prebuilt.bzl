"""The tools of a release, by the host's operating system and processor.

`.ci/release` fills the table in the archive that it makes. In the source tree it is empty, so that the tool is
built of the sources beside it."""

# (os, cpu) in the names of @platforms, to a struct of `urls` and `sha256`.
PREBUILT = {}

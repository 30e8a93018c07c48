"""Outputs that have the bytes of a base in them, and Bazel's caches."""

CACHE_BASE = attr.bool(
    doc = """Whether Bazel's remote and disk caches may hold an output that has a pulled base's bytes in it.

By default they do not: whoever makes one has its base already, so that to make it again is sooner done than to
fetch it, and a cache would be sent the base for each of them. An archive and a root file system are not cached by
default even if no base was pulled. It is of use with remote execution, where the
base goes to the remote cache in any case, as an input. The action may run remotely either way.""",
)

def caching_of_base(ctx):
    """Returns the execution requirements of an action whose output has a base's bytes in it.

    Args:
      ctx: the context of a rule with `cache_base = CACHE_BASE` among its attributes.

    Returns:
      A dict.
    """
    return {} if ctx.attr.cache_base else {"no-cache": ""}

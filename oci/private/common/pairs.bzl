"""Dicts of attributes as `NAME=VALUE`."""

def pairs(ctx, attribute):
    """Writes the entries of a dict attribute for the tool.

    Args:
      ctx: the rule's context.
      attribute: the attribute's name.

    Returns:
      A list of strings, `NAME=VALUE`.
    """
    values = getattr(ctx.attr, attribute)
    for name in values:
        if not name or "=" in name:
            fail("{}: {} has the name {}, but a name must not be empty nor contain '='".format(ctx.label, attribute, repr(name)))
    return ["{}={}".format(name, value) for name, value in values.items()]

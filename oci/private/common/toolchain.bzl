"""The tool that the actions run: the `oci-pull-all` program."""

TOOLCHAIN_TYPE = Label("//oci:toolchain_type")

def get_tool(ctx):
    """Returns the tool that the rule's actions run.

    Args:
      ctx: the context of a rule with `toolchains = [TOOLCHAIN_TYPE]`.

    Returns:
      A FilesToRunProvider.
    """
    return ctx.toolchains[TOOLCHAIN_TYPE].tool.executable

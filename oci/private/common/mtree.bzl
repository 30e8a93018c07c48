"""The list of what an archive of files holds."""

load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def mtree_of(ctx, archive):
    """Makes the list of what an archive holds, for who asks for it.

    Args:
      ctx: the context of a rule with the toolchain.
      archive: a File.

    Returns:
      A File, as mtree(5) writes it.
    """
    listing = ctx.actions.declare_file(archive.basename + ".mtree", sibling = archive)
    arguments = ctx.actions.args()
    arguments.add_all(["mtree", archive])
    arguments.add("--output", listing)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = [archive],
        outputs = [listing],
        mnemonic = "OCIMtree",
        progress_message = "Listing %{input}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return listing

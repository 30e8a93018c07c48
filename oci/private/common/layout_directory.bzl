"""The action that makes the directory of a layout."""

load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def layout_directory(ctx, name, sources, inputs, blobs, mode, requirements, mnemonic, progress_message):
    """Makes a layout, a directory.

    Args:
      ctx: the context of a rule with the toolchain.
      name: the directory's name.
      sources: the Args of a command of `oci-pull-all layout`, with what the layout is made of.
      inputs: a depset of the files that `sources` names, but for `blobs`.
      blobs: a depset of the pulled base's blobs, which `sources` names.
      mode: how they get into the directory, `link` or `file`.
      requirements: the action's execution requirements if it copies them.
      mnemonic: the action's mnemonic.
      progress_message: the action's message.

    Returns:
      A DefaultInfo.
    """
    layout = ctx.actions.declare_directory(name)
    directory = ctx.actions.args()
    directory.add("--blobs", mode)
    directory.add_all("--output", [layout], expand_directories = False)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [sources, directory],
        inputs = depset(transitive = [inputs, blobs]),
        outputs = [layout],
        execution_requirements = requirements if blobs and mode == "file" else {},
        mnemonic = mnemonic,
        progress_message = progress_message,
        toolchain = TOOLCHAIN_TYPE,
    )

    # The links lead to the pulled blobs, which must therefore be wherever the layout is.
    linked = blobs if mode == "link" else depset()
    return DefaultInfo(
        files = depset([layout]),
        runfiles = ctx.runfiles(files = [layout], transitive_files = linked),
    )

"""The action that makes the directory of a layout."""

load(":caching.bzl", "caching_of_base")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def layout_directory(ctx, command, sources, inputs, blobs, mnemonic, progress_message):
    """Makes the layout `NAME`, a directory.

    Args:
      ctx: the context of a rule with the attributes `blobs` and `cache_base`, and the toolchain.
      command: the command of `oci-pull-all layout`.
      sources: an Args with what the layout is made of. It goes into a parameter file, because it names every blob.
      inputs: a depset of the files that `sources` names, but for `blobs`.
      blobs: a depset of the pulled base's blobs, which `sources` names.
      mnemonic: the action's mnemonic.
      progress_message: the action's message.

    Returns:
      A DefaultInfo.
    """
    layout = ctx.actions.declare_directory(ctx.label.name)
    directory = ctx.actions.args()
    directory.add_all(["layout", command, "--blobs", ctx.attr.blobs])
    directory.add_all("--output", [layout], expand_directories = False)
    sources.use_param_file("@%s")
    sources.set_param_file_format("shell")
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [directory, sources],
        inputs = depset(transitive = [inputs, blobs]),
        outputs = [layout],
        execution_requirements = caching_of_base(ctx) if blobs and ctx.attr.blobs == "file" else {},
        mnemonic = mnemonic,
        progress_message = progress_message,
        toolchain = TOOLCHAIN_TYPE,
    )

    # The links lead to the pulled blobs, which must therefore be wherever the layout is.
    linked = blobs if ctx.attr.blobs == "link" else depset()
    return DefaultInfo(
        files = depset([layout]),
        runfiles = ctx.runfiles(files = [layout], transitive_files = linked),
    )

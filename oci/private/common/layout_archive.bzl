"""The action that makes one file of a layout."""

load(":caching.bzl", "CACHE_BASE", "caching_of_base")
load(":layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load(":platforms.bzl", "PLATFORM_ATTR", "add_platform")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def layout_archive(ctx, command, options, output_flag, mnemonic, progress_message):
    """Makes `NAME.tar` of a layout, or of the image that the attribute `platform` names.

    Args:
      ctx: the context of a rule with LAYOUT_ARCHIVE_ATTRS and the toolchain.
      command: the command of `oci-pull-all layout`.
      options: an Args with more of its arguments.
      output_flag: the command's flag for the file.
      mnemonic: the action's mnemonic.
      progress_message: the action's message.

    Returns:
      A File.
    """
    found = layout_input(ctx)
    archive = ctx.actions.declare_file(ctx.label.name + ".tar")
    arguments = ctx.actions.args()
    arguments.add_all(["layout", command])
    arguments.add_all([found.path], expand_directories = False)
    add_platform(ctx, arguments)
    arguments.add(output_flag, archive)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments, options],
        inputs = found.inputs,
        outputs = [archive],
        execution_requirements = caching_of_base(ctx),
        mnemonic = mnemonic,
        progress_message = progress_message,
        toolchain = TOOLCHAIN_TYPE,
    )
    return archive

LAYOUT_ARCHIVE_ATTRS = {
    "cache_base": CACHE_BASE,
    "layout": LAYOUT_ATTR,
    "platform": PLATFORM_ATTR,
}

"""The action that makes a layer."""

load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

COMPRESSION_ATTR = attr.string(
    doc = """`gzip`, which everything reads; `zstd`, which is smaller and faster; or `none`. By default a layer that is one
archive stays as it is, if OCI has a media type for it, and all others are compressed by gzip.""",
    values = ["", "gzip", "zstd", "none"],
)

def layer_action(ctx, name, arguments, inputs, compression, archive):
    """Runs the action that makes a layer.

    Args:
      ctx: the rule's context.
      name: the stem of the outputs' names.
      arguments: an Args with the layer's content.
      inputs: a depset of the files that `arguments` names.
      compression: `gzip`, `zstd` or `none`; empty for that of `archive`, or gzip.
      archive: a File, the archive that is all of the layer, or None.

    Returns:
      An OCIDescriptorInfo.
    """
    blob = ctx.actions.declare_file(name + _suffix(compression, archive))
    descriptor = ctx.actions.declare_file(name + ".descriptor.json")
    unnamed_parents = ctx.actions.declare_file(name + ".unnamed_parents.json")
    outputs = ctx.actions.args()
    outputs.add("layer")
    outputs.add("--output", blob)
    outputs.add("--descriptor", descriptor)
    outputs.add("--unnamed-parents", unnamed_parents)
    if compression:
        outputs.add("--compression", compression)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [outputs, arguments],
        inputs = inputs,
        outputs = [blob, descriptor, unnamed_parents],
        mnemonic = "OCILayer",
        progress_message = "Building layer %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return OCIDescriptorInfo(blob = blob, descriptor = descriptor, unnamed_parents = unnamed_parents)

def _suffix(compression, archive):
    """What the name of a layer's file ends with; only the tool knows what an archive is, whatever its name."""
    if archive and not compression:
        if archive.basename.endswith(".tar"):
            return ".tar"
        if archive.extension in ["zst", "tzst"]:
            return ".tar.zst"
    return {"none": ".tar", "zstd": ".tar.zst"}.get(compression, ".tar.gz")

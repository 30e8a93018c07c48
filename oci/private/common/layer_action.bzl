"""The action that makes a layer."""

load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def layer_action(ctx, name, arguments, inputs, compression):
    """Runs the action that makes a layer.

    Args:
      ctx: the rule's context.
      name: the stem of the outputs' names.
      arguments: an Args with the layer's content.
      inputs: a depset of the files that `arguments` names.
      compression: `gzip`, `zstd` or `none`.

    Returns:
      An OCIDescriptorInfo.
    """
    suffix = {"gzip": ".tar.gz", "none": ".tar", "zstd": ".tar.zst"}[compression]
    blob = ctx.actions.declare_file(name + suffix)
    descriptor = ctx.actions.declare_file(name + ".descriptor.json")
    outputs = ctx.actions.args()
    outputs.add("layer")
    outputs.add("--output", blob)
    outputs.add("--descriptor", descriptor)
    outputs.add("--compression", compression)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [outputs, arguments],
        inputs = inputs,
        outputs = [blob, descriptor],
        mnemonic = "OCILayer",
        progress_message = "Building layer %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return OCIDescriptorInfo(blob = blob, descriptor = descriptor)

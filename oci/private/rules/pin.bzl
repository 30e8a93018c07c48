"""The rule for the command `pin`."""

load("//oci/private/common:run_tool.bzl", "HOST_TOOL_ATTR", "run_host_tool", "runfiles_path", "write_arguments")

def _pin_impl(ctx):
    arguments = ctx.actions.args()
    arguments.add("pin")
    arguments.add_all("--pins", [ctx.file.pins], map_each = runfiles_path)
    return run_host_tool(ctx, write_arguments(ctx, arguments), ctx.runfiles([ctx.file.pins]))

pin = rule(
    implementation = _pin_impl,
    doc = "Moves the digests that the workspace pins.",
    executable = True,
    attrs = {
        "pins": attr.label(doc = "What the root module declares.", allow_single_file = True, mandatory = True),
        "_tool": HOST_TOOL_ATTR,
    },
)

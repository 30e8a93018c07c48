"""The rule for the tool as a target that `bazel run` takes."""

load("//oci/private/common:run_tool.bzl", "HOST_TOOL_ATTR", "link_tool")

def _tool_impl(ctx):
    tool = ctx.executable._tool
    link = link_tool(ctx, tool)
    return [DefaultInfo(
        executable = link,
        files = depset([link]),
        runfiles = ctx.runfiles([tool]),
    )]

tool = rule(
    implementation = _tool_impl,
    doc = "The host's tool, with the arguments in `args` before the user's.",
    executable = True,
    attrs = {
        "_tool": HOST_TOOL_ATTR,
    },
)

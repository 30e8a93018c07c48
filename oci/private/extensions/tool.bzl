"""The module extension that makes the tool's repository."""

load("//oci/private/repositories:oci_pull_all_tool.bzl", "oci_pull_all_tool")

def _tool_impl(mctx):
    oci_pull_all_tool(name = "oci_pull_all_tool")
    return mctx.extension_metadata(reproducible = True)

tool = module_extension(
    implementation = _tool_impl,
    doc = "Makes the repository `oci_pull_all_tool`.",
)

"""The rule for the toolchain that holds the tool which the actions run."""

load("//oci/private/providers:toolchains.bzl", "OCIToolInfo")

def _oci_pull_all_toolchain_impl(ctx):
    executable = ctx.attr.tool[DefaultInfo].files_to_run
    return [platform_common.ToolchainInfo(tool = OCIToolInfo(executable = executable))]

oci_pull_all_toolchain = rule(
    implementation = _oci_pull_all_toolchain_impl,
    doc = """Makes a toolchain of the tool for another exec platform.

Wrap it in a `toolchain` of the type `@oci_pull_all//oci:toolchain_type` to let actions run on an
exec platform other than the host.""",
    attrs = {
        "tool": attr.label(
            doc = "The `oci-pull-all` program for the exec platform.",
            mandatory = True,
            executable = True,
            cfg = "exec",
            allow_files = True,
        ),
    },
)

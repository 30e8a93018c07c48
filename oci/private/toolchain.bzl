"""The toolchain that holds the program which the actions run."""

load("//oci:providers.bzl", "OCIToolInfo")

TOOLCHAIN_TYPE = Label("//oci:toolchain_type")

def _oci_pull_all_toolchain_impl(ctx):
    executable = ctx.attr.tool[DefaultInfo].files_to_run
    return [platform_common.ToolchainInfo(tool = OCIToolInfo(executable = executable))]

oci_pull_all_toolchain = rule(
    implementation = _oci_pull_all_toolchain_impl,
    doc = """Makes a toolchain of a program.

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

def get_tool(ctx):
    """Returns the program that the rule's actions run.

    Args:
      ctx: the context of a rule with `toolchains = [TOOLCHAIN_TYPE]`.

    Returns:
      A FilesToRunProvider.
    """
    return ctx.toolchains[TOOLCHAIN_TYPE].tool.executable

"""How what Bazel runs for a rule is the tool with the rule's own arguments."""

load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

# The tool must run where the test runs.
TEST_EXEC_GROUPS = {"test": exec_group(toolchains = [TOOLCHAIN_TYPE])}

def run_host_tool(ctx, arguments, runfiles):
    """Makes what `bazel run` runs on the host, whatever platform is built for and wherever actions run.

    Args:
      ctx: the context of an executable rule with `_tool = HOST_TOOL_ATTR` among its attributes.
      arguments: a File that write_arguments makes.
      runfiles: the runfiles that it needs.

    Returns:
      A list of providers.
    """
    tool = ctx.executable._tool
    return _run(ctx, struct(executable = tool), arguments, runfiles.merge(ctx.runfiles([tool])))

# Not by a toolchain, which is for the exec platform.
HOST_TOOL_ATTR = attr.label(
    default = Label("@oci_pull_all_tool//:tool"),
    executable = True,
    cfg = "target",
    allow_files = True,
)

def test_tool(ctx, arguments, runfiles):
    """Makes what `bazel test` runs.

    Args:
      ctx: the context of a test rule with `exec_groups = TEST_EXEC_GROUPS`.
      arguments: an Args with the tool's arguments, which come before those of the attribute `args`.
      runfiles: the runfiles that it needs.

    Returns:
      A list of providers.
    """
    return _run(ctx, get_tool(ctx.exec_groups["test"]), write_arguments(ctx, arguments), runfiles)

def write_arguments(ctx, arguments):
    """Writes the rule's arguments to where the tool looks for them, wherever it is started.

    Args:
      ctx: the rule's context.
      arguments: an Args with the tool's arguments, which come before the user's.

    Returns:
      A File.
    """
    file = ctx.actions.declare_file(ctx.label.name + ".arguments")
    arguments.set_param_file_format("shell")
    ctx.actions.write(file, arguments)
    return file

def _run(ctx, tool, arguments, runfiles):
    executable = link_tool(ctx, tool.executable)
    return [
        DefaultInfo(
            executable = executable,
            files = depset([executable]),
            runfiles = ctx.runfiles([arguments]).merge(runfiles),
        ),
        RunEnvironmentInfo({"OCI_PULL_ALL_ARGUMENTS": arguments.short_path}),
    ]

def link_tool(ctx, tool):
    """Makes a link with the target's name to the tool, which an executable must have.

    Args:
      ctx: the context of an executable rule.
      tool: a File, the tool.

    Returns:
      A File.
    """
    link = ctx.actions.declare_file(ctx.label.name + (".exe" if tool.extension == "exe" else ""))
    ctx.actions.symlink(output = link, target_file = tool, is_executable = True)
    return link

def runfiles_path(file):
    """The path of a file for a tool that is run, where runfiles are, for `map_each`.

    Args:
      file: a File.

    Returns:
      A string.
    """
    return file.short_path

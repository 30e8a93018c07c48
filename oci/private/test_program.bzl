"""How a test rule's test is the `oci-pull-all` program with the rule's own arguments."""

load(":toolchain.bzl", "TOOLCHAIN_TYPE")

# The program must run where the test runs.
TEST_EXEC_GROUPS = {"test": exec_group(toolchains = [TOOLCHAIN_TYPE])}

def test_program(ctx, arguments, runfiles):
    """Makes the test's program.

    Args:
      ctx: the context of a test rule with `exec_groups = TEST_EXEC_GROUPS`.
      arguments: an Args with the program's arguments, which come before those of the attribute `args`.
      runfiles: the runfiles that it needs.

    Returns:
      A list of providers.
    """
    tool = ctx.exec_groups["test"].toolchains[TOOLCHAIN_TYPE].tool.executable.executable
    program = ctx.actions.declare_file(ctx.label.name + (".exe" if tool.extension == "exe" else ""))
    ctx.actions.symlink(output = program, target_file = tool, is_executable = True)
    file = ctx.actions.declare_file(ctx.label.name + ".arguments")
    arguments.set_param_file_format("shell")
    ctx.actions.write(file, arguments)
    return [
        DefaultInfo(
            executable = program,
            files = depset([program]),
            runfiles = ctx.runfiles([file]).merge(runfiles),
        ),
        RunEnvironmentInfo({"OCI_PULL_ALL_TEST_ARGUMENTS": file.short_path}),
    ]

def runfiles_path(file):
    """The path of a file in a test, where runfiles are, for `map_each`.

    Args:
      file: a File.

    Returns:
      A string.
    """
    return file.short_path

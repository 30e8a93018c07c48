"""How what Bazel runs for a rule is the `oci-pull-all` program with the rule's own arguments."""

def run_program(ctx, tool, arguments, runfiles):
    """Makes the program that `bazel run` or `bazel test` runs.

    Args:
      ctx: the context of an executable rule.
      tool: the program's FilesToRunProvider.
      arguments: an Args with the program's arguments, which come before the user's.
      runfiles: the runfiles that it needs.

    Returns:
      A list of providers.
    """
    tool = tool.executable
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
        RunEnvironmentInfo({"OCI_PULL_ALL_ARGUMENTS": file.short_path}),
    ]

def runfiles_path(file):
    """The path of a file for a program that is run, where runfiles are, for `map_each`.

    Args:
      file: a File.

    Returns:
      A string.
    """
    return file.short_path

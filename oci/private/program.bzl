"""The program as a target that `bazel run` takes."""

load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

def _program_impl(ctx):
    program = get_tool(ctx).executable
    link = ctx.actions.declare_file(program.basename)
    ctx.actions.symlink(output = link, target_file = program, is_executable = True)
    return [DefaultInfo(executable = link, files = depset([link]))]

program = rule(
    implementation = _program_impl,
    doc = "The toolchain's program.",
    executable = True,
    toolchains = [TOOLCHAIN_TYPE],
)

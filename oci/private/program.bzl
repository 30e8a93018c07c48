"""The program as a target that `bazel run` takes."""

def _program_impl(ctx):
    program = ctx.executable._program
    suffix = ".exe" if program.extension == "exe" else ""
    link = ctx.actions.declare_file(ctx.label.name + suffix)
    ctx.actions.symlink(output = link, target_file = program, is_executable = True)
    return [DefaultInfo(
        executable = link,
        files = depset([link]),
        runfiles = ctx.runfiles([program]),
    )]

program = rule(
    implementation = _program_impl,
    doc = "The host's program, with the arguments in `args` before the user's.",
    executable = True,
    attrs = {
        # Not by a toolchain, which is for the exec platform: `bazel run` runs on the host.
        "_program": attr.label(
            default = Label("@oci_pull_all_tool//:program"),
            executable = True,
            cfg = "target",
            allow_files = True,
        ),
    },
)

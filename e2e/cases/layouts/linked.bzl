"""A program whose runfiles are links."""

def _linked_program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(program, "#!/bin/sh\n", is_executable = True)
    return [DefaultInfo(
        executable = program,
        runfiles = ctx.runfiles(
            files = [program],
            root_symlinks = {"root-link.txt": ctx.file.target},
            symlinks = {"links/link.txt": ctx.file.target},
        ),
    )]

linked_program = rule(
    implementation = _linked_program_impl,
    attrs = {"target": attr.label(allow_single_file = True)},
    executable = True,
)

"""What rules of languages make: trees, links and programs with runfiles."""

def _tree_impl(ctx):
    tree = ctx.actions.declare_directory(ctx.label.name)
    ctx.actions.run_shell(
        outputs = [tree],
        command = "cd $1 && mkdir -p lib sub && echo real >lib/libx.so.1 && ln -s libx.so.1 lib/libx.so && ln -s ../lib sub/lib",
        arguments = [tree.path],
    )
    return [DefaultInfo(files = depset([tree]))]

tree = rule(implementation = _tree_impl)

def _raw_link_impl(ctx):
    link = ctx.actions.declare_symlink(ctx.label.name)
    ctx.actions.symlink(output = link, target_path = ctx.attr.target)
    return [DefaultInfo(files = depset([link]))]

raw_link = rule(
    implementation = _raw_link_impl,
    attrs = {"target": attr.string()},
)

def _program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(program, "#!/bin/sh\necho program\n", is_executable = True)
    runfiles = ctx.runfiles(files = ctx.files.data, symlinks = {"alias": ctx.files.data[0]})
    return [DefaultInfo(executable = program, runfiles = runfiles)]

program = rule(
    implementation = _program_impl,
    attrs = {"data": attr.label_list(allow_files = True)},
    executable = True,
)

"""A layout on the layout of a base, all of whose blobs are links."""

def _oci_image_impl(ctx):
    layout = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add_all([layout, ctx.file.base], expand_directories = False)
    arguments.add_all(ctx.files.tars)
    ctx.actions.run(
        executable = ctx.executable._append_layer,
        arguments = [arguments],
        inputs = [ctx.file.base] + ctx.files.tars,
        outputs = [layout],
        mnemonic = "ForeignImage",
    )
    return [DefaultInfo(
        files = depset([layout]),
        # Not the base's own runfiles, in which its links end.
        runfiles = ctx.runfiles([ctx.file.base] + ctx.files.tars),
    )]

oci_image = rule(
    implementation = _oci_image_impl,
    attrs = {
        "base": attr.label(allow_single_file = True),
        "tars": attr.label_list(allow_files = True),
        "_append_layer": attr.label(
            default = "append_layer.py",
            allow_single_file = True,
            cfg = "exec",
            executable = True,
        ),
    },
)

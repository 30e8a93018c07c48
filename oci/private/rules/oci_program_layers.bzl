"""The rule for a program in several layers."""

load("//oci/private/common:layer_action.bzl", "LAYER_ATTRS", "add_pairs", "layer_action", "layer_arguments")
load("//oci/private/common:layer_files.bzl", "add_program")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:layers.bzl", "OCILayersInfo")

_OWN = "program"

def _oci_program_layers_impl(ctx):
    path = ctx.attr.path
    if not path.startswith("/") or path.endswith("/"):
        fail("{}: path is {}, but it must be the program's own path in the image, such as /app/server".format(ctx.label, repr(path)))
    if _OWN in ctx.attr.groups:
        fail("{}: the group {} is that of what no other group takes, and has no patterns".format(ctx.label, repr(_OWN)))
    arguments = layer_arguments(ctx)
    root = ctx.attr.runfiles.rstrip("/")
    inputs = add_program(arguments, ctx.attr.program[DefaultInfo], ctx.executable.program, path, root)
    if root:
        add_pairs(arguments, "--symlink", {path + ".runfiles": root})
    layers = []
    earlier = []
    for group, patterns in ctx.attr.groups.items() + [(_OWN, [])]:
        if group != _OWN and not patterns:
            fail("{}: the group {} has no patterns".format(ctx.label, repr(group)))
        picks = ctx.actions.args()
        picks.add_all(patterns, format_each = "--take=%s")
        picks.add_all(earlier, format_each = "--leave=%s")
        earlier += patterns
        layers.append((group, layer_action(
            ctx,
            name = "{}.{}".format(ctx.label.name, group),
            arguments = arguments,
            inputs = depset(transitive = inputs),
            compression = ctx.attr.compression,
            picks = picks,
        )))
    return [
        DefaultInfo(files = depset([layer.blob for _, layer in layers])),
        OutputGroupInfo(**{group: depset([layer.blob]) for group, layer in layers}),
        OCILayersInfo(layers = [layer for _, layer in layers]),
    ]

oci_program_layers = rule(
    implementation = _oci_program_layers_impl,
    doc = """Makes layers of a program and its runfiles (OCI image spec, layer.md), so that what changes seldom, such as an interpreter,
is in a layer of its own, which neither is made nor pushed again when the rest changes.

Each file goes into the layer of the first of `groups` with a pattern that its path in the image matches; what no pattern matches, into the last
layer, `program`. A change of files that a layer does not take does not make it anew. Programs whose runfiles are at one place, by `runfiles`,
share the layers that are alike.

Provides OCILayersInfo, which `layers` of `oci_image` takes. Each layer is in an output group of its name.""",
    attrs = LAYER_ATTRS | {
        "groups": attr.string_list_dict(
            doc = """Dict of a layer's name to patterns of paths, the lowest layer first, such as
`{"packages": ["**/site-packages/**"]}`. Patterns are as in `metadata`.""",
        ),
        "path": attr.string(
            doc = "The program's path in the image, such as `/app/server`. Its runfiles are at `PATH.runfiles`.",
            mandatory = True,
        ),
        "program": attr.label(
            doc = "The label of the program, whatever it is written in.",
            executable = True,
            mandatory = True,
            cfg = "target",
        ),
        "runfiles": attr.string(
            doc = "Where the runfiles are instead, such as `/app/runfiles`; `PATH.runfiles` is then a symbolic link to it.",
        ),
    },
    provides = [OCILayersInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

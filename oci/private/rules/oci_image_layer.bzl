"""The rule for a file system layer."""

load("//oci/private/common:layer_action.bzl", "LAYER_ATTRS", "add_pairs", "layer_action", "layer_arguments")
load("//oci/private/common:layer_files.bzl", "add_target")
load("//oci/private/common:mtree.bzl", "mtree_of")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")

def _oci_image_layer_impl(ctx):
    arguments = layer_arguments(ctx)
    inputs = []
    for path, target in ctx.attr.files.items():
        inputs += add_target(arguments, target, path)
    arguments.add_all(ctx.attr.directories, format_each = "--empty-directory=%s")
    add_pairs(arguments, "--symlink", ctx.attr.symlinks)
    archives = ctx.files.tars
    arguments.add_all(archives, format_each = "--tar=%s")
    added = [ctx.attr.files, ctx.attr.directories, ctx.attr.symlinks, ctx.attr.links, ctx.attr.usr_merge, ctx.attr.metadata, ctx.attr.modes]
    is_archive = len(archives) == 1 and not any(added)
    layer = layer_action(
        ctx,
        name = ctx.label.name,
        arguments = arguments,
        inputs = depset(archives, transitive = inputs),
        compression = ctx.attr.compression,
        archive = archives[0] if is_archive else None,
    )
    return [
        DefaultInfo(files = depset([layer.blob])),
        OutputGroupInfo(mtree = depset([mtree_of(ctx, layer.blob)])),
        layer,
    ]

oci_image_layer = rule(
    implementation = _oci_image_layer_impl,
    doc = """Makes a layer of files (OCI image spec, layer.md).

The same inputs give the same bytes: entries are sorted by path, and owners, modes and times do not
come from the machine. Provides OCIDescriptorInfo. The output group `mtree` has a list of what is in the layer (mtree(5)).

A directory that is there only because something is in it belongs to root and has the mode that distributions give it: 1777
for `/tmp` and `/var/tmp`, 0700 for `/root`, else 0755. Where the base has a link or another mode, `links` and `parents` say
so; an `oci_layout_test` fails if they should.""",
    attrs = LAYER_ATTRS | {
        "directories": attr.string_list(
            doc = "Paths of directories, which may stay empty.",
        ),
        "files": attr.string_keyed_label_dict(
            doc = """Dict of path to label. A label with one file has it at the path, or below the path if that ends with
a slash; one with several files, or with a directory, has them below the path. An executable target is placed with its runfiles
at `PATH.runfiles`. What the build made as a link is a link with the same text, and links in a directory stay links, which must
not lead out of it.""",
            allow_files = True,
        ),
        "symlinks": attr.string_dict(
            doc = "Dict of path to what the symbolic link there points to.",
        ),
        "tars": attr.label_list(
            doc = """Labels of tar archives, which may be compressed by gzip, zstd or xz, or be in a Debian package; their
entries keep owner, mode, time and extended attributes. A layer of one archive and nothing else keeps the archive's bytes; where
there is more, what engines do not read, such as times of access, is left out. A Debian package is also recorded in
`/var/lib/dpkg/status.d`, as distroless images have it, so that scanners know of it.""",
            allow_files = True,
        ),
    },
    provides = [OCIDescriptorInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

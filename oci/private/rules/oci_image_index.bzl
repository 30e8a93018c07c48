"""The rule for an image index."""

load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS", "image_input")
load("//oci/private/common:pairs.bzl", "pairs")
load("//oci/private/common:pulled_infos.bzl", "merge_pulled_infos")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")
load("//oci/private/common:transitions.bzl", "each_platform")
load("//oci/private/providers:image.bzl", "OCIImageIndexInfo")

def _oci_image_index_impl(ctx):
    targets = [
        target
        for number in sorted(ctx.split_attr.images)
        for target in ctx.split_attr.images[number]
    ]
    images = [image for target in targets for image in image_input(target).images]
    index = ctx.actions.declare_file(ctx.label.name + ".index.json")
    descriptor = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    arguments = ctx.actions.args()
    arguments.add("index")
    arguments.add_all([image.descriptor for image in images], before_each = "--image")
    arguments.add_all(pairs(ctx, "annotations"), format_each = "--annotation=%s")
    arguments.add("--output", index)
    arguments.add("--descriptor", descriptor)
    arguments.add("--digest", digest)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = [image.descriptor for image in images],
        outputs = [index, descriptor, digest],
        mnemonic = "OCIIndex",
        progress_message = "Building image index %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return [
        DefaultInfo(files = depset([index])),
        OutputGroupInfo(descriptor = depset([descriptor]), digest = depset([digest])),
        OCIImageIndexInfo(descriptor = descriptor, images = images, index = index, pulled_from = None),
    ] + merge_pulled_infos(targets)

oci_image_index = rule(
    implementation = _oci_image_index_impl,
    doc = """Puts several images under one digest (OCI image spec, image-index.md).

Provides OCIImageIndexInfo, and OCIPulledImageInfo where `oci_image_layout` depends on it. Output groups: `descriptor`, the content
descriptor as JSON, and `digest`, the digest in one line.""",
    attrs = {
        "annotations": attr.string_dict(doc = "Annotations of the index."),
        "images": attr.label_list(
            doc = """The images, in the index's order: `oci_image` targets, or indexes, whose images are
taken. No two may be for one platform.""",
            mandatory = True,
            allow_empty = False,
            cfg = each_platform,
            providers = IMAGE_PROVIDERS,
        ),
        "platforms": attr.label_list(
            doc = """The platforms, `platform` targets, for each of which the images are built: one
`oci_image` then becomes an image for each, on the base's image that fits it. Without any, the images are
for the target platform, or for what they say themselves.""",
        ),
    },
    provides = [OCIImageIndexInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

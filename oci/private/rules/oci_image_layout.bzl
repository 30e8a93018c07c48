"""The rule for an OCI image layout."""

load("//oci/private/common:caching.bzl", "CACHE_BASE", "caching_of_base")
load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS", "image_input")
load("//oci/private/common:image_layout.bzl", "image_layout")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/common:transitions.bzl", "layout_transition", "single")
load("//oci/private/providers:layout.bzl", "OCILayoutInfo")
load("//oci/private/providers:unnamed_parents.bzl", "UnnamedParentsInfo")

def _oci_image_layout_impl(ctx):
    target = single(ctx.attr.image)
    found = image_input(target)
    if ctx.attr.platform and found.index:
        fail("{}: platform is for an image that is built for it, but {} is an index, whose images are what they are: name one of them as image, or leave platform out".format(
            ctx.label,
            target.label,
        ))
    layout = image_layout(
        ctx,
        target,
        found,
        name = ctx.label.name,
        mode = ctx.attr.blobs,
        requirements = caching_of_base(ctx),
        ref_name = ctx.attr.ref_name,
        referrers = ctx.attr.referrers,
    )
    layers = [layer for layer in found.layers.to_list() if getattr(layer, "unnamed_parents", None)]
    return [
        layout,
        OCILayoutInfo(
            directory = layout.files.to_list()[0],
            images = [
                struct(base_digest = image.pulled_digest or "", platform = image.platform)
                for image in found.images
            ],
        ),
        OutputGroupInfo(oci_layout = layout.files),
        UnnamedParentsInfo(layers = layers),
    ]

oci_image_layout = rule(
    implementation = _oci_image_layout_impl,
    doc = """Makes an OCI image layout (OCI image spec, image-layout.md): the whole image as a directory.

It is what security scanners read. Whatever the image stands on is pulled with all its layers, on demand,
before the build begins; the action that puts the layout together is sandboxed and needs no network.

`oci_image_archive` makes one file of it, `oci_image_rootfs` the root file system. The output group `oci_layout` has the directory
too, for rules that look for it there. Provides OCILayoutInfo.""",
    attrs = {
        "blobs": attr.string(
            doc = """How a pulled base's blobs get into the directory: `link`, as relative symlinks, so that
nothing is copied, and nothing but their size read: they were verified when they were pulled; or `file`, which
verifies them again, for consumers that cannot follow links out of the directory.

Bazel's caches get a layout with links whatever `cache_base` says: of the base, they hold the links' targets alone.""",
            default = "link",
            values = ["link", "file"],
        ),
        "cache_base": CACHE_BASE,
        "image": attr.label(
            doc = "The image or image index: an `oci_image`, an `oci_image_index`, or a pulled base itself.",
            mandatory = True,
            providers = IMAGE_PROVIDERS,
            cfg = layout_transition,
        ),
        "platform": attr.label(
            doc = """The platform, a `platform` target, that the image is built for, instead of the target
platform: for the layout of one of the images that an `oci_image_index` makes of the same `oci_image`.""",
        ),
        "ref_name": attr.string(
            doc = """The image's name within the layout (annotation
`org.opencontainers.image.ref.name`), by which tools choose it, many of them this one if nobody says another. None if empty.""",
            default = "latest",
        ),
        "referrers": attr.bool(
            doc = """Whether what refers to a pulled base is in the layout of that base itself, where it was pulled
(`referrers` of `oci.pull`). `index.json` lists it beside the image, and not all programs take a layout whose `index.json`
has several entries: False is for them.""",
            default = True,
        ),
    },
    toolchains = [TOOLCHAIN_TYPE],
)

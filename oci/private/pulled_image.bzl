"""The targets for the images and the index of a pulled repository."""

load("//oci:providers.bzl", "OCIImageIndexInfo", "OCIImageInfo", "OCIPlatformInfo", "OCIPulledImageInfo")
load(":pulled_blobs.bzl", "merge_pulled_infos", "pulled_info")

_DESCRIPTOR_ATTRS = {
    "digest": attr.string(doc = "The manifest's digest.", mandatory = True),
    "manifest_size": attr.int(doc = "The manifest's size in bytes.", mandatory = True),
    "media_type": attr.string(doc = "The manifest's media type.", mandatory = True),
    "pulled": attr.label(
        doc = "The target that has the blobs, in configurations that need them.",
        providers = [OCIPulledImageInfo],
    ),
}

def _write_descriptor(ctx, platform = None):
    descriptor = {
        "digest": ctx.attr.digest,
        "mediaType": ctx.attr.media_type,
        "size": ctx.attr.manifest_size,
    }
    if platform:
        descriptor["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            descriptor["platform"]["variant"] = platform.variant
    file = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    ctx.actions.write(file, json.encode(descriptor))
    return file

def _pulled_image_impl(ctx):
    platform = OCIPlatformInfo(
        os = ctx.attr.os,
        architecture = ctx.attr.architecture,
        variant = ctx.attr.variant,
    )
    return [
        DefaultInfo(files = depset([ctx.file.manifest, ctx.file.config])),
        OCIImageInfo(
            config = ctx.file.config,
            descriptor = _write_descriptor(ctx, platform),
            layers = depset(),
            manifest = ctx.file.manifest,
            platform = platform,
            pulled_digest = ctx.attr.digest,
        ),
    ] + pulled_info(ctx.attr.pulled, ctx.attr.digest)

pulled_image = rule(
    implementation = _pulled_image_impl,
    doc = "One image of a pulled repository.",
    attrs = _DESCRIPTOR_ATTRS | {
        "architecture": attr.string(doc = "`GOARCH`.", mandatory = True),
        "config": attr.label(doc = "The config.", allow_single_file = True, mandatory = True),
        "manifest": attr.label(doc = "The manifest.", allow_single_file = True, mandatory = True),
        "os": attr.string(doc = "`GOOS`.", mandatory = True),
        "variant": attr.string(doc = "The processor's variant."),
    },
    provides = [OCIImageInfo],
)

def _pulled_index_impl(ctx):
    return [
        DefaultInfo(files = depset([ctx.file.index])),
        OCIImageIndexInfo(
            descriptor = _write_descriptor(ctx),
            images = [image[OCIImageInfo] for image in ctx.attr.images],
            index = ctx.file.index,
        ),
    ] + merge_pulled_infos([ctx.attr.pulled] if ctx.attr.pulled else [])

pulled_index = rule(
    implementation = _pulled_index_impl,
    doc = "The image index of a pulled repository.",
    attrs = _DESCRIPTOR_ATTRS | {
        "images": attr.label_list(doc = "The pulled images.", providers = [OCIImageInfo]),
        "index": attr.label(doc = "The image index.", allow_single_file = True, mandatory = True),
    },
    provides = [OCIImageIndexInfo],
)

"""The rules for the images and the index of a pulled repository."""

load("//oci:providers.bzl", "OCIImageIndexInfo", "OCIImageInfo", "OCIPlatformInfo", "OCIPulledFromInfo", "OCIPulledImageInfo")
load(":pulled_blobs.bzl", "pulled_info")

_DESCRIPTOR_ATTRS = {
    "digest": attr.string(doc = "The manifest's digest.", mandatory = True),
    "manifest_size": attr.int(doc = "The manifest's size in bytes.", mandatory = True),
    "media_type": attr.string(doc = "The manifest's media type.", mandatory = True),
    "plain_http": attr.bool(doc = "Whether the registry is spoken to without TLS."),
    "pulled": attr.label(
        doc = "The target that has the blobs, if it is in the same repository.",
        providers = [OCIPulledImageInfo],
    ),
    "source": attr.string(doc = "The image's registry and repository.", mandatory = True),
}

def _pulled_from(ctx):
    return OCIPulledFromInfo(plain_http = ctx.attr.plain_http, repository = ctx.attr.source)

def _pulled(ctx, toolchain_type):
    """The blobs' OCIPulledImageInfo, or None where they are not wanted."""
    if ctx.attr.pulled:
        return ctx.attr.pulled[OCIPulledImageInfo]
    toolchain = ctx.toolchains[toolchain_type] if toolchain_type else None
    return toolchain.pulled if toolchain else None

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

def _pulled_image_impl(ctx, toolchain_type):
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
            pulled_from = _pulled_from(ctx),
        ),
    ] + pulled_info(ctx.label, _pulled(ctx, toolchain_type), ctx.attr.digest, referrers = True)

def _pulled_index_impl(ctx, toolchain_type):
    pulled = _pulled(ctx, toolchain_type)
    return [
        DefaultInfo(files = depset([ctx.file.index])),
        OCIImageIndexInfo(
            descriptor = _write_descriptor(ctx),
            images = [image[OCIImageInfo] for image in ctx.attr.images],
            index = ctx.file.index,
            pulled_from = _pulled_from(ctx),
        ),
    ] + ([pulled] if pulled else [])

def pulled_rules(toolchain_type = None):
    """Makes the rules for the targets of one pulled repository.

    Args:
      toolchain_type: the label of the toolchain type by which the blobs in another repository are found,
        in configurations that want them. A toolchain and not an attribute, because Bazel loads an
        attribute's label, and so fetches its repository, for every `bazel query`.

    Returns:
      The rule for an image, and the rule for the index.
    """
    toolchains = []
    if toolchain_type:
        toolchains.append(config_common.toolchain_type(toolchain_type, mandatory = False))
    return rule(
        implementation = lambda ctx: _pulled_image_impl(ctx, toolchain_type),
        doc = "One image of a pulled repository.",
        attrs = _DESCRIPTOR_ATTRS | {
            "architecture": attr.string(doc = "`GOARCH`.", mandatory = True),
            "config": attr.label(doc = "The config.", allow_single_file = True, mandatory = True),
            "manifest": attr.label(doc = "The manifest.", allow_single_file = True, mandatory = True),
            "os": attr.string(doc = "`GOOS`.", mandatory = True),
            "variant": attr.string(doc = "The processor's variant."),
        },
        provides = [OCIImageInfo],
        toolchains = toolchains,
    ), rule(
        implementation = lambda ctx: _pulled_index_impl(ctx, toolchain_type),
        doc = "The image index of a pulled repository.",
        attrs = _DESCRIPTOR_ATTRS | {
            "images": attr.label_list(doc = "The pulled images.", providers = [OCIImageInfo]),
            "index": attr.label(doc = "The image index.", allow_single_file = True, mandatory = True),
        },
        provides = [OCIImageIndexInfo],
        toolchains = toolchains,
    )

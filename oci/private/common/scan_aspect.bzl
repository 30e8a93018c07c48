"""The aspect that has each image of a build looked into once, however many tests stand on it."""

load("//oci/private/common:image_input.bzl", "image_alone")
load("//oci/private/common:image_layout.bzl", "image_layout")
load("//oci/private/common:scan.bzl", "bases_of", "scan_image")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:image.bzl", "OCIImageInfo")
load("//oci/private/providers:scan.bzl", "OCIScanInfo", "OCIScannerInfo")
load("//oci/private/providers:setting.bzl", "OCISettingInfo")

def _scan_aspect_impl(target, ctx):
    if OCIImageInfo not in target:
        images = getattr(ctx.rule.attr, "images", [])
        return [OCIScanInfo(images = [
            image
            for child in images
            if OCIScanInfo in child
            for image in child[OCIScanInfo].images
        ])]
    image = target[OCIImageInfo]
    scanner = ctx.attr._scanner[OCIScannerInfo]
    if not scanner.kind or not ctx.attr._pull_all[OCISettingInfo].value:
        return [OCIScanInfo(images = [])]
    base = getattr(ctx.rule.attr, "base", None)
    name = ctx.label.name + ".scan"
    layout = image_layout(ctx, target, image_alone(image), name = name + "/layout")
    return [OCIScanInfo(images = [scan_image(
        ctx,
        scanner,
        struct(
            inputs = layout.default_runfiles.files,
            path = layout.files.to_list()[0],
        ),
        name,
        label = ctx.label,
        bases = bases_of(base, image.platform) if base else [],
        platform = image.platform,
    )])]

scan_aspect = aspect(
    implementation = _scan_aspect_impl,
    doc = "Provides OCIScanInfo of images whose bases come with all their layers, by the scanner that the build is set to.",
    attr_aspects = ["base", "images"],
    attrs = {
        "_pull_all": attr.label(default = Label("//oci:pull_all")),
        "_scanner": attr.label(default = Label("//oci:scanner")),
    },
    toolchains = [TOOLCHAIN_TYPE],
)

"""The aspect that has each image of a build looked into once, however many tests stand on it."""

load("//oci/private/common:image_input.bzl", "image_input")
load("//oci/private/common:image_layout.bzl", "image_layout")
load("//oci/private/common:scan.bzl", "scan_by_all")
load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS")
load("//oci/private/common:scanners.bzl", "scanners_of")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:scan.bzl", "OCIScanInfo")
load("//oci/private/providers:setting.bzl", "OCISettingInfo")

def _scan_aspect_impl(target, ctx):
    found = image_input(target)
    if not found or found.index:
        scans = [child[OCIScanInfo] for child in getattr(ctx.rule.attr, "images", []) if OCIScanInfo in child]
        skipped = [scan.skipped_scanner for scan in scans if scan.skipped_scanner]
        return [OCIScanInfo(
            images = [image for scan in scans for image in scan.images],
            skipped_scanner = skipped[0] if skipped else None,
        )]
    scanners = scanners_of(ctx.attr._scanner)
    if scanners == None:
        return [OCIScanInfo(images = [], skipped_scanner = ctx.attr._scanner.label)]
    if not scanners or not ctx.attr._pull_all[OCISettingInfo].value:
        return [OCIScanInfo(images = [], skipped_scanner = None)]
    base = getattr(ctx.rule.attr, "base", None)
    platform = found.root.platform
    name = ctx.label.name + ".scan"
    layout = image_layout(ctx, target, found, name = name + "/layout")
    images = scan_by_all(
        ctx,
        scanners,
        struct(
            inputs = layout.default_runfiles.files,
            path = layout.files.to_list()[0],
        ),
        name,
        label = ctx.label,
        base = (base, platform) if base else None,
        platform = platform,
    )
    return [OCIScanInfo(images = images, skipped_scanner = None)]

scan_aspect = aspect(
    implementation = _scan_aspect_impl,
    doc = "Provides OCIScanInfo of images whose bases come with all their layers, by each scanner that the build is set to.",
    attr_aspects = ["base", "images"],
    attrs = {
        "_pull_all": attr.label(default = Label("//oci:pull_all")),
        "_scanner": attr.label(default = Label("//oci:scanner")),
    },
    exec_groups = SCAN_EXEC_GROUPS,
    toolchains = [TOOLCHAIN_TYPE],
)

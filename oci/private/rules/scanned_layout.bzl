"""The rule that has the images of a layout scanned, whatever made it."""

load("//oci/private/common:image_input.bzl", "IMAGE_PROVIDERS", "choose_image", "image_input")
load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load("//oci/private/common:platforms.bzl", "check_platform", "parse_platform", "platform_to_string")
load("//oci/private/common:scan.bzl", "scan_by_all")
load("//oci/private/common:scan_aspect.bzl", "scan_aspect")
load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS")
load("//oci/private/common:scanners.bzl", "scanners_of")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/providers:image.bzl", "OCIPlatformInfo")
load("//oci/private/providers:layout.bzl", "OCILayoutInfo")
load("//oci/private/providers:scan.bzl", "OCIScanInfo")

def _scanned_layout_impl(ctx):
    if ctx.attr.platform and ctx.attr.platforms:
        fail("{}: give either platform, for one image of the layout alone, or platforms, for all".format(ctx.label))
    scanners = scanners_of(single(ctx.attr._scanner))
    if not scanners:
        return [OCIScanInfo(images = [], skipped_scanner = None)]
    layout = layout_input(ctx)
    platforms = ctx.attr.platforms
    if not platforms and not ctx.attr.platform and OCILayoutInfo in ctx.attr.layout:
        platforms = [platform_to_string(image.platform) for image in ctx.attr.layout[OCILayoutInfo].images]
    twice = [platform for place, platform in enumerate(platforms) if platform in platforms[:place]]
    if twice:
        fail("{}: {} is twice among the platforms of {}, and nothing tells which image is meant: if they are of an index, name it as image of the test, which then is of each".format(
            ctx.label,
            twice[0],
            ctx.attr.layout.label,
        ))
    all = [argument for platform in platforms for argument in ("--scanned-platform", platform)]
    images = []
    for platform in platforms or [ctx.attr.platform]:
        images.extend(_scan(ctx, scanners, layout, platform, all))
    return [OCIScanInfo(images = images, skipped_scanner = None)]

def _scan(ctx, scanners, layout, text, all):
    name = ctx.label.name
    platform = None
    if text:
        problem = check_platform(text)
        if problem:
            fail("{}: platform: {}".format(ctx.label, problem))
        name += "/" + text.replace("/", "-")
        platform = parse_platform(text)
    return scan_by_all(
        ctx,
        scanners,
        layout,
        name,
        label = ctx.label,
        base = _base(ctx, platform) if ctx.attr.base else None,
        platform = platform,
        choice = ["--platform", platform_to_string(platform)] + all if platform else [],
    )

def _base(ctx, platform):
    """The base, and the platform of its image; a layout's own platform is known only to who reads it, so a wrong one is told there."""
    base = single(ctx.attr.base)
    images = image_input(base).images
    if platform or len(images) > 1:
        images = [choose_image(
            ctx.label,
            base,
            platform or ctx.attr._target_platform[OCIPlatformInfo],
            "base",
            "Set platform to that of the layout's image, or name another base.",
        )]
    _check_base(ctx, platform, images[0])
    return base, images[0].platform

def _check_base(ctx, platform, image):
    """What the layout says that it stands on must be the base; that it does, is found out where layers are read."""
    if OCILayoutInfo not in ctx.attr.layout or not image.pulled_digest:
        return
    name = platform_to_string(platform) if platform else ""
    for said in ctx.attr.layout[OCILayoutInfo].images:
        if platform_to_string(said.platform) == name and said.base_digest not in ("", image.pulled_digest):
            fail("{}: base is {}, which is {}, but {} says that its image for {} stands on {}".format(
                ctx.label,
                single(ctx.attr.base).label,
                image.pulled_digest,
                ctx.attr.layout.label,
                name,
                said.base_digest,
            ))

scanned_layout = rule(
    implementation = _scanned_layout_impl,
    doc = "Provides OCIScanInfo of the images of a layout, by each scanner that the build is set to.",
    attrs = {
        "base": attr.label(
            doc = "What the images stand on.",
            aspects = [scan_aspect],
            cfg = pull_all_on,
            providers = IMAGE_PROVIDERS,
        ),
        "layout": LAYOUT_ATTR,
        "platform": attr.string(doc = "Which image it is, of several."),
        "platforms": attr.string_list(doc = "The platforms of all its images, of which each is scanned."),
        # As the aspect has it, so that its program is made once.
        "_scanner": attr.label(default = Label("//oci:scanner"), cfg = pull_all_on),
        "_target_platform": attr.label(default = Label("//oci:target_platform")),
    },
    exec_groups = SCAN_EXEC_GROUPS,
    provides = [OCIScanInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

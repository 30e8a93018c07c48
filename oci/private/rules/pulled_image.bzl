"""The rule for an image of a pulled repository."""

load("//oci/private/common:pulled_infos.bzl", "pulled_info")
load("//oci/private/common:pulled_targets.bzl", "PULLED_ATTRS", "all_pulled", "pulled_from", "pulled_toolchains", "write_descriptor")
load("//oci/private/providers:image.bzl", "OCIImageInfo", "OCIPlatformInfo")

def _pulled_image_impl(ctx, toolchain_type):
    platform = OCIPlatformInfo(
        os = ctx.attr.os,
        architecture = ctx.attr.architecture,
        os_version = ctx.attr.os_version,
        variant = ctx.attr.variant,
    )
    return [
        DefaultInfo(files = depset([ctx.file.manifest, ctx.file.config])),
        OCIImageInfo(
            config = ctx.file.config,
            descriptor = write_descriptor(ctx, platform),
            layers = depset(),
            manifest = ctx.file.manifest,
            platform = platform,
            pulled_digest = ctx.attr.digest,
            pulled_from = pulled_from(ctx),
        ),
    ] + pulled_info(ctx.label, all_pulled(ctx, toolchain_type), ctx.attr.digest, referrers = True)

def pulled_image_rule(toolchain_type = None):
    """Makes the rule for the images of one pulled repository.

    Args:
      toolchain_type: the label of the toolchain type that finds the blobs, if they are in another repository.

    Returns:
      A rule.
    """
    return rule(
        implementation = lambda ctx: _pulled_image_impl(ctx, toolchain_type),
        doc = "One image of a pulled repository.",
        attrs = PULLED_ATTRS | {
            "architecture": attr.string(doc = "`GOARCH`.", mandatory = True),
            "config": attr.label(doc = "The config.", allow_single_file = True, mandatory = True),
            "manifest": attr.label(doc = "The manifest.", allow_single_file = True, mandatory = True),
            "os": attr.string(doc = "`GOOS`.", mandatory = True),
            "os_version": attr.string(doc = "The version of the operating system."),
            "variant": attr.string(doc = "The processor's variant."),
        },
        provides = [OCIImageInfo],
        toolchains = pulled_toolchains(toolchain_type),
    )

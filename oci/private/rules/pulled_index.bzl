"""The rule for the image index of a pulled repository."""

load("//oci/private/common:pulled_targets.bzl", "PULLED_ATTRS", "all_pulled", "pulled_from", "pulled_toolchains", "write_descriptor")
load("//oci/private/providers:image.bzl", "OCIImageIndexInfo", "OCIImageInfo")

def _pulled_index_impl(ctx, toolchain_type):
    pulled = all_pulled(ctx, toolchain_type)
    return [
        DefaultInfo(files = depset([ctx.file.index])),
        OCIImageIndexInfo(
            descriptor = write_descriptor(ctx),
            images = [image[OCIImageInfo] for image in ctx.attr.images],
            index = ctx.file.index,
            pulled_from = pulled_from(ctx),
        ),
    ] + ([pulled] if pulled else [])

def pulled_index_rule(toolchain_type = None):
    """Makes the rule for the index of one pulled repository.

    Args:
      toolchain_type: the label of the toolchain type that finds the blobs, if they are in another repository.

    Returns:
      A rule.
    """
    return rule(
        implementation = lambda ctx: _pulled_index_impl(ctx, toolchain_type),
        doc = "The image index of a pulled repository.",
        attrs = PULLED_ATTRS | {
            "images": attr.label_list(doc = "The pulled images.", providers = [OCIImageInfo]),
            "index": attr.label(doc = "The image index.", allow_single_file = True, mandatory = True),
        },
        provides = [OCIImageIndexInfo],
        toolchains = pulled_toolchains(toolchain_type),
    )

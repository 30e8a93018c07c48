"""The layout of an image that the build makes or that was pulled."""

load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")
load(":arguments.bzl", "tool_arguments")
load(":layout_directory.bzl", "layout_directory")

def image_layout(ctx, target, found, name, mode = "link", requirements = {}, ref_name = "", referrers = False):
    """Makes the layout of an image or an image index.

    Args:
      ctx: the context of a rule with the toolchain.
      target: the target of the image, which has `//oci:pull_all` set.
      found: what image_input has of it, or image_alone of one of its images.
      name: the name of the layout's directory.
      mode: how a pulled base's blobs get into the directory, `link` or `file`.
      requirements: the action's execution requirements if it copies them.
      ref_name: the image's name within the layout; none when empty.
      referrers: whether what refers to a pulled base is in the layout of that base itself.

    Returns:
      A DefaultInfo.
    """
    pulled = target[OCIPulledImageInfo] if OCIPulledImageInfo in target else None
    _check_pulled(ctx, target, found.images, pulled)
    layers = found.layers.to_list()
    blobs = depset()
    if pulled and found.index:
        blobs = pulled.blobs
    elif pulled:
        blobs = depset(transitive = [
            pulled.images[image.pulled_digest]
            for image in found.images
            if image.pulled_digest
        ])
    referrers_indexes = depset()
    if pulled and referrers:
        blobs = depset(transitive = [blobs] + pulled.referrers.values())
        referrers_indexes = pulled.referrers_indexes
    sources = tool_arguments(ctx, "layout", "merge")
    sources.add("--root", found.root.descriptor)
    if ref_name:
        sources.add(ref_name, format = "--ref-name=%s")
    sources.add_all(found.documents, before_each = "--local-file", uniquify = True)
    for layer in layers:
        sources.add_all("--local", [layer.descriptor, layer.blob])
    sources.add_all(blobs, before_each = "--blob")
    sources.add_all(referrers_indexes, before_each = "--referrers")
    return layout_directory(
        ctx,
        name,
        sources,
        inputs = depset(
            [found.root.descriptor] + found.documents +
            [file for layer in layers for file in (layer.descriptor, layer.blob)],
            transitive = [referrers_indexes],
        ),
        blobs = blobs,
        mode = mode,
        requirements = requirements,
        mnemonic = "OCILayout",
        progress_message = "Merging image layout %{label}",
    )

def _check_pulled(ctx, target, images, pulled):
    have = pulled.images if pulled else {}
    for image in images:
        if image.pulled_digest and image.pulled_digest not in have:
            fail("{}: the layers of the base of {} (image {}) are not to be had, because only its manifest was pulled. In {}, set pulled_base to an oci_pull_all repository of the same image, or declare the base with oci.pull of the module extension @oci_pull_all//oci:extensions.bzl.".format(
                ctx.label,
                target.label,
                image.pulled_digest,
                target.label,
            ))

"""The target that has a pulled image's blobs."""

load("//oci:providers.bzl", "OCIPulledImageInfo")

def _pulled_blobs_impl(ctx):
    by_path = {"/".join(file.path.split("/")[-3:]): file for file in ctx.files.blobs}
    blobs = depset(ctx.files.blobs)
    pulled = OCIPulledImageInfo(
        blobs = blobs,
        images = {
            digest: depset([by_path[path] for path in paths])
            for digest, paths in ctx.attr.images.items()
        },
    )
    return [
        DefaultInfo(files = blobs),
        platform_common.ToolchainInfo(pulled = pulled),
        pulled,
    ]

pulled_blobs = rule(
    implementation = _pulled_blobs_impl,
    doc = "Provides the blobs of an oci_pull_all repository.",
    attrs = {
        "blobs": attr.label_list(doc = "All blobs.", allow_files = True, mandatory = True),
        "images": attr.string_list_dict(doc = "The digest of each image manifest, and the paths of the blobs it needs."),
    },
    provides = [OCIPulledImageInfo],
)

def pulled_info(label, pulled, digest):
    """What a target provides of the blobs that one pulled image needs.

    Args:
      label: the target's label.
      pulled: an OCIPulledImageInfo, or None.
      digest: the digest of the pulled image's manifest, or None.

    Returns:
      A list of no or one OCIPulledImageInfo.
    """
    if not pulled or not digest:
        return []
    if digest not in pulled.images:
        fail("{}: its base is the image {}, but the pulled layers are those of {}. Pull the same digest and platforms in both.".format(
            label,
            digest,
            ", ".join(pulled.images.keys()) or "no image",
        ))
    return [OCIPulledImageInfo(
        blobs = pulled.images[digest],
        images = {digest: pulled.images[digest]},
    )]

def merge_pulled_infos(targets):
    """What the pulled bases of several images provide together.

    Args:
      targets: targets, of which some have OCIPulledImageInfo.

    Returns:
      A list of no or one OCIPulledImageInfo.
    """
    infos = [target[OCIPulledImageInfo] for target in targets if OCIPulledImageInfo in target]
    if not infos:
        return []
    images = {}
    for info in infos:
        images.update(info.images)
    return [OCIPulledImageInfo(
        blobs = depset(transitive = [info.blobs for info in infos]),
        images = images,
    )]

"""What targets pass on of the blobs of pulled bases."""

load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

def pulled_info(label, pulled, digest, referrers = False):
    """What a target provides of the blobs that one pulled image needs.

    Args:
      label: the target's label.
      pulled: an OCIPulledImageInfo, or None.
      digest: the digest of the pulled image's manifest, or None.
      referrers: whether what refers to that image belongs to the target's, because it is the same.

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
    referring = referrers and digest in pulled.referrers
    return [OCIPulledImageInfo(
        blobs = pulled.images[digest],
        images = {digest: pulled.images[digest]},
        referrers = {digest: pulled.referrers[digest]} if referring else {},
        referrers_indexes = pulled.referrers_indexes if referring else depset(),
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
    referrers = {}
    for info in infos:
        images.update(info.images)
        referrers.update(info.referrers)
    return [OCIPulledImageInfo(
        blobs = depset(transitive = [info.blobs for info in infos]),
        images = images,
        referrers = referrers,
        referrers_indexes = depset(transitive = [info.referrers_indexes for info in infos]),
    )]

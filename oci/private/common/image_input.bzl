"""How a rule takes an image or an image index."""

load("//oci/private/providers:image.bzl", "OCIImageIndexInfo", "OCIImageInfo")

# For `providers` of an attribute.
IMAGE_PROVIDERS = [[OCIImageInfo], [OCIImageIndexInfo]]

def image_input(target):
    """Reads what a target provides of an image or an image index.

    Args:
      target: any target.

    Returns:
      None if it provides neither, else a struct with `root`, the OCIImageInfo or OCIImageIndexInfo; `images`,
      a list of the OCIImageInfo of all images; `index`, the OCIImageIndexInfo or None; `documents`, a list of
      File: the index and the images' manifests and configs; and `layers`, a depset of OCIDescriptorInfo.
    """
    if OCIImageInfo in target:
        index = None
        images = [target[OCIImageInfo]]
    elif OCIImageIndexInfo in target:
        index = target[OCIImageIndexInfo]
        images = index.images
    else:
        return None
    return struct(
        documents = ([index.index] if index else []) +
                    [file for image in images for file in (image.manifest, image.config)],
        images = images,
        index = index,
        layers = depset(transitive = [image.layers for image in images], order = "preorder"),
        root = index or images[0],
    )

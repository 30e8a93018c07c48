"""How a rule takes an image or an image index."""

load("//oci/private/providers:artifact.bzl", "OCIArtifactInfo")
load("//oci/private/providers:image.bzl", "OCIImageIndexInfo", "OCIImageInfo")
load(":platforms.bzl", "platform_rank", "platform_to_string")

# For `providers` of an attribute.
IMAGE_PROVIDERS = [[OCIImageInfo], [OCIImageIndexInfo]]

# For one whose target goes to choose_image, which says of an artifact what it is.
CHOICE_PROVIDERS = IMAGE_PROVIDERS + [[OCIArtifactInfo]]

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
        return image_alone(target[OCIImageInfo])
    if OCIImageIndexInfo not in target:
        return None
    index = target[OCIImageIndexInfo]
    return struct(
        documents = [index.index] + [file for image in index.images for file in (image.manifest, image.config)],
        images = index.images,
        index = index,
        layers = depset(transitive = [image.layers for image in index.images], order = "preorder"),
        root = index,
    )

def choose_image(label, target, wanted, what, advice):
    """Chooses the image of a target that fits a platform best.

    Args:
      label: the label of the target that takes it.
      target: a target of which image_input has something, or an artifact, which is an error.
      wanted: the machine's OCIPlatformInfo.
      what: what the target is to `label`, for messages, such as `base`.
      advice: what to do where there is no such image, a sentence.

    Returns:
      An OCIImageInfo.
    """
    if OCIArtifactInfo in target:
        fail("{}: the {} {} is no image, but an artifact of the type {}. oci_artifact_files takes its files.".format(
            label,
            what,
            target.label,
            repr(target[OCIArtifactInfo].artifact_type),
        ))
    images = image_input(target).images
    ranked = [
        (platform_rank(image.platform, wanted), index)
        for index, image in enumerate(images)
        if platform_rank(image.platform, wanted) != None
    ]
    if not ranked:
        fail("{}: the {} {} has no image for {}. It offers {}. {}".format(
            label,
            what,
            target.label,
            platform_to_string(wanted),
            ", ".join([platform_to_string(image.platform) for image in images]) or "none",
            advice,
        ))
    return images[min(ranked)[1]]

def image_alone(image):
    """What image_input has of a target of one image.

    Args:
      image: an OCIImageInfo.

    Returns:
      As image_input.
    """
    return struct(
        documents = [image.manifest, image.config],
        images = [image],
        index = None,
        layers = image.layers,
        root = image,
    )

"""What the targets of a pulled repository for an image and for an index have in common."""

load("//oci/private/providers:image.bzl", "OCIPulledFromInfo")
load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

PULLED_ATTRS = {
    "digest": attr.string(doc = "The manifest's digest.", mandatory = True),
    "manifest_size": attr.int(doc = "The manifest's size in bytes.", mandatory = True),
    "media_type": attr.string(doc = "The manifest's media type.", mandatory = True),
    "plain_http": attr.bool(doc = "Whether the registry is spoken to without TLS."),
    "pulled": attr.label(
        doc = "The target that has the blobs, if it is in the same repository.",
        providers = [OCIPulledImageInfo],
    ),
    "pulled_digest": attr.string(doc = "The digest that was pulled, of an index perhaps.", mandatory = True),
    "source": attr.string(doc = "The image's registry and repository.", mandatory = True),
    "tag": attr.string(doc = "The tag that the digest was read from, if it was said."),
}

def pulled_from(ctx):
    """Where the target was pulled from.

    Args:
      ctx: the context of a rule with PULLED_ATTRS.

    Returns:
      An OCIPulledFromInfo.
    """
    return OCIPulledFromInfo(
        digest = ctx.attr.pulled_digest,
        plain_http = ctx.attr.plain_http,
        repository = ctx.attr.source,
        tag = ctx.attr.tag,
    )

def pulled_toolchains(toolchain_type):
    """What a rule has as `toolchains` that finds the blobs in another repository, where they are wanted.

    A toolchain and not an attribute, because Bazel loads an attribute's label, and so fetches its repository, for every
    `bazel query`.

    Args:
      toolchain_type: the label of the toolchain type, or None where the blobs are in the same repository or nowhere.

    Returns:
      A list.
    """
    return [config_common.toolchain_type(toolchain_type, mandatory = False)] if toolchain_type else []

def all_pulled(ctx, toolchain_type, provider = OCIPulledImageInfo):
    """What is there of the pulled blobs.

    Args:
      ctx: the context of a rule with the attribute `pulled` and `toolchains = pulled_toolchains(toolchain_type)`.
      toolchain_type: the same label, or None.
      provider: what `pulled` and the toolchain provide.

    Returns:
      An instance of the provider, or None where the blobs are not wanted.
    """
    if ctx.attr.pulled:
        return ctx.attr.pulled[provider]
    toolchain = ctx.toolchains[toolchain_type] if toolchain_type else None
    return toolchain.pulled if toolchain else None

def write_descriptor(ctx, platform = None):
    """Writes the content descriptor of the manifest.

    Args:
      ctx: the context of a rule with PULLED_ATTRS.
      platform: the image's OCIPlatformInfo; None for an index.

    Returns:
      A File.
    """
    descriptor = {
        "digest": ctx.attr.digest,
        "mediaType": ctx.attr.media_type,
        "size": ctx.attr.manifest_size,
    }
    if platform:
        descriptor["platform"] = {"architecture": platform.architecture, "os": platform.os}
        if platform.os_version:
            descriptor["platform"]["os.version"] = platform.os_version
        if platform.variant:
            descriptor["platform"]["variant"] = platform.variant
    file = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    ctx.actions.write(file, json.encode(descriptor))
    return file

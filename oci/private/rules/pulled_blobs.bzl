"""The target that has a pulled image's blobs."""

load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

def _pulled_blobs_impl(ctx):
    by_path = {"/".join(file.path.split("/")[-3:]): file for file in ctx.files.blobs}
    blobs = depset(ctx.files.blobs)
    pulled = OCIPulledImageInfo(
        blobs = blobs,
        images = {
            digest: depset([by_path[path] for path in paths])
            for digest, paths in ctx.attr.images.items()
        },
        referrers = {
            digest: depset([by_path[path] for path in paths])
            for digest, paths in ctx.attr.referrers.items()
        },
        referrers_indexes = depset([ctx.file.index] if ctx.attr.referrers else []),
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
        "index": attr.label(doc = "The layout's `index.json`.", allow_single_file = True, mandatory = True),
        "referrers": attr.string_list_dict(doc = "The digests of manifests, and the paths of the blobs of what refers to each."),
    },
    provides = [OCIPulledImageInfo],
)

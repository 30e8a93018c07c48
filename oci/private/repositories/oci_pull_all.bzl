"""The repository rule for a whole base image."""

load(":pull.bzl", "pull")
load(":pull_attrs.bzl", "PULL_ATTRS", "REFERRERS_ATTRS")

def _oci_pull_all_impl(rctx):
    pull(rctx, shallow = False)
    if hasattr(rctx, "repo_metadata"):
        return rctx.repo_metadata(reproducible = not rctx.attr.referrers)
    return None

oci_pull_all = repository_rule(
    implementation = _oci_pull_all_impl,
    doc = """Pulls an image with all its layers into an external repository that is an OCI image layout.

The target `@NAME` serves as `base` and as `pulled_base` of `oci_image`, and as `image` of
`oci_image_layout`. Blobs are kept in a store that all workspaces of the user share, so the same image is
downloaded once.""",
    attrs = PULL_ATTRS | REFERRERS_ATTRS,
)

"""The repository rule for a base image without its layers."""

load(":pull.bzl", "pull")
load(":pull_attrs.bzl", "PULL_ATTRS")

def _oci_pull_impl(rctx):
    pull(rctx, shallow = True, on_demand = rctx.attr.on_demand)
    if hasattr(rctx, "repo_metadata"):
        return rctx.repo_metadata(reproducible = True)
    return None

oci_pull = repository_rule(
    implementation = _oci_pull_impl,
    doc = """Pulls an image's manifests and configs, but no layer, as `@NAME`.

That is all that building and pushing an image on this base needs. For its layout and for scans, name an
`oci_pull_all` repository of the same image as `pulled_base` of `oci_image`, or declare both at once with
the module extension's `oci.pull`.""",
    attrs = PULL_ATTRS | {
        "on_demand": attr.bool(
            doc = """Whether the toolchain of this base in `@oci_pulled_toolchains` has the layers. The module
extension sets it.""",
        ),
    },
)

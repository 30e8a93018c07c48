"""Images whose output group `oci_layout` lacks the layers of a shallow base."""

load("@bazel_skylib//rules:common_settings.bzl", "BuildSettingInfo")
load("@oci_pull_all//oci:defs.bzl", "oci_image")
load("@oci_pull_all//oci:providers.bzl", "OCIImageInfo")

_LAYOUT = """\
set -euo pipefail
layout=$1 descriptors=$2
shift 2
mkdir -p "$layout/blobs/sha256"
for blob; do
  cp "$blob" "$layout/blobs/sha256/$(sha256sum "$blob" | cut -d' ' -f1)"
done
printf '{"imageLayoutVersion": "1.0.0"}' > "$layout/oci-layout"
manifests=$(cat $descriptors | sed 's/}{/},{/g')
printf '{"schemaVersion": 2, "manifests": [%s]}' "$manifests" > "$layout/index.json"
"""

def _layout_impl(ctx):
    images = [image[OCIImageInfo] for image in ctx.attr.images]
    if ctx.attr._shallow[BuildSettingInfo].value != "i_know_what_i_am_doing":
        fail("the layers of the base are missing")
    descriptors = [image.descriptor for image in images]
    blobs = []
    for image in images:
        blobs += [image.manifest, image.config] + [layer.blob for layer in image.layers.to_list()]
    layout = ctx.actions.declare_directory(ctx.label.name + "_oci_layout")
    ctx.actions.run_shell(
        command = _LAYOUT,
        arguments = [layout.path, " ".join([file.path for file in descriptors])] + [file.path for file in blobs],
        inputs = descriptors + blobs,
        outputs = [layout],
        mnemonic = "ForeignLayout",
    )
    return [
        DefaultInfo(files = depset(descriptors)),
        OutputGroupInfo(oci_layout = depset([layout])),
    ]

_layout = rule(
    implementation = _layout_impl,
    attrs = {
        "images": attr.label_list(providers = [OCIImageInfo]),
        "_shallow": attr.label(default = "//img/settings:shallow_oci_layout"),
    },
)

def image_manifest(name, base, layers, **kwargs):
    oci_image(name = name + ".image", base = base, tars = layers, **kwargs)
    _layout(name = name, images = [name + ".image"])

def image_index(name, manifests):
    """Its `index.json` is the index itself.

    Args:
      name: the target's name.
      manifests: the images.
    """
    _layout(name = name, images = [manifest + ".image" for manifest in manifests])

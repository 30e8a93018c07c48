"""Other ways to get an image's blobs into a directory, to be measured beside `oci_image_layout`."""

load("@oci_pull_all//oci:providers.bzl", "OCIImageInfo", "OCIPulledImageInfo")

_PLACE = """\
mkdir -p "$1/blobs/sha256"
cp "${@:2}" "$1/blobs/sha256"
"""

def _placed_blobs_impl(ctx):
    image = ctx.attr.image[OCIImageInfo]
    blobs = depset(
        [image.manifest, image.config] + [layer.blob for layer in image.layers.to_list()],
        transitive = [ctx.attr.image[OCIPulledImageInfo].blobs],
    )
    directory = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add_all([directory], expand_directories = False)
    arguments.add(ctx.attr.option)
    arguments.add_all(blobs)
    ctx.actions.run_shell(
        command = _PLACE,
        arguments = [arguments],
        inputs = blobs,
        outputs = [directory],
        mnemonic = "PlaceBlobs",
        progress_message = "Placing blobs %{label}",
        # A sandbox shows its inputs on another mount, out of which there are no hard links.
        execution_requirements = {"no-sandbox": "1"},
    )
    return [DefaultInfo(files = depset([directory]))]

placed_blobs = rule(
    implementation = _placed_blobs_impl,
    doc = "Places the blobs alone: neither oci-layout nor index.json, and no local blob under its digest.",
    attrs = {
        "image": attr.label(providers = [OCIImageInfo, OCIPulledImageInfo]),
        "option": attr.string(doc = "The option of `cp` that says how."),
    },
)

def _known_blobs_impl(ctx):
    blobs = ctx.attr.image[OCIPulledImageInfo].blobs
    done = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.run_shell(
        command = "touch \"$1\"",
        arguments = [done.path],
        inputs = blobs,
        outputs = [done],
        mnemonic = "KnowBlobs",
    )
    return [DefaultInfo(files = depset([done]))]

known_blobs = rule(
    implementation = _known_blobs_impl,
    doc = "Has Bazel compute the digest of each blob of the base, where it does not know it yet.",
    attrs = {
        "image": attr.label(providers = [OCIPulledImageInfo]),
    },
)

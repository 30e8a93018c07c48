"""The rule that makes a layout of another ruleset whole."""

load("//oci/private/common:arguments.bzl", "tool_arguments")
load("//oci/private/common:caching.bzl", "CACHE_BASE", "caching_of_base")
load("//oci/private/common:layout_directory.bzl", "layout_directory")
load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/providers:layout.bzl", "OCILayoutInfo")
load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

def _oci_complete_layout_impl(ctx):
    found = layout_input(ctx)
    base = single(ctx.attr.pulled_base)
    if OCIPulledImageInfo not in base:
        fail("{}: {} has no layers: name a base of oci.pull of the module extension @oci_pull_all//oci:extensions.bzl, an oci_pull_all repository, or an oci_image on one of these".format(ctx.label, base.label))
    blobs = base[OCIPulledImageInfo].blobs

    sources = tool_arguments(ctx, "layout", "complete")
    sources.add_all([found.path], expand_directories = False)
    sources.add_all(blobs, before_each = "--blob")
    layout = layout_directory(
        ctx,
        ctx.label.name,
        sources,
        inputs = found.inputs,
        blobs = blobs,
        mode = ctx.attr.blobs,
        requirements = caching_of_base(ctx),
        mnemonic = "OCICompleteLayout",
        progress_message = "Completing image layout %{label}",
    )
    if OCILayoutInfo not in ctx.attr.layout:
        return [layout]
    images = ctx.attr.layout[OCILayoutInfo].images
    return [layout, OCILayoutInfo(directory = layout.files.to_list()[0], images = images)]

oci_complete_layout = rule(
    implementation = _oci_complete_layout_impl,
    doc = """Makes a layout that lacks its base's layers whole.

It is for images that another ruleset builds on a base without having its layers, such as the `oci_layout` of rules_img
with a shallow base. The layers come from `pulled_base`, on demand, before the build begins; `index.json` stays as
it is. An image of `oci_image` needs no such step: `oci_image_layout` makes its layout.""",
    attrs = {
        "blobs": attr.string(
            doc = """How the pulled base's blobs get into the directory, as in `oci_image_layout`: `link` or
`file`. All others are copied, and verified.""",
            default = "link",
            values = ["link", "file"],
        ),
        "cache_base": CACHE_BASE,
        "layout": LAYOUT_ATTR,
        "pulled_base": attr.label(
            doc = """Where the layers of the base are: a base of `oci.pull` (`@NAME`), an `oci_pull_all` repository,
or an `oci_image` on one of these, of which it takes the one platform that is built for. What the base has is taken from
there even if the layout has it too.""",
            mandatory = True,
            cfg = pull_all_on,
        ),
    },
    toolchains = [TOOLCHAIN_TYPE],
)

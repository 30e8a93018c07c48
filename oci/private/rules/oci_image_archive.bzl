"""The rule for an archive of an image."""

load("//oci/private/common:layout_archive.bzl", "LAYOUT_ARCHIVE_ATTRS", "layout_archive")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")

def _oci_image_archive_impl(ctx):
    if ctx.attr.repo_tags and ctx.attr.format != "docker":
        fail("{}: repo_tags are for format = \"docker\": other archives have no place for them".format(ctx.label))
    for tag in ctx.attr.repo_tags:
        if "@" in tag or ":" not in tag.split("/")[-1]:
            fail("{}: repo_tags has {}, but a name and a tag are wanted, such as \"example.com/app:latest\"".format(ctx.label, repr(tag)))
    options = ctx.actions.args()
    options.add("--format", ctx.attr.format)
    options.add_all(ctx.attr.repo_tags, format_each = "--tag=%s")
    archive = layout_archive(
        ctx,
        command = "archive",
        options = options,
        output_flag = "--output",
        mnemonic = "OCIArchive",
        progress_message = "Archiving image layout %{label}",
    )
    return [DefaultInfo(files = depset([archive])), OutputGroupInfo(oci_tarball = depset([archive]))]

oci_image_archive = rule(
    implementation = _oci_image_archive_impl,
    doc = "Makes one file of an image layout, for tools that want an archive.",
    attrs = LAYOUT_ARCHIVE_ATTRS | {
        "format": attr.string(
            doc = """`oci`: the layout's files as they are (OCI image spec, image-layout.md), which may be of
several platforms. `docker`: the same for one image, with the `manifest.json` that `docker load` reads.""",
            default = "oci",
            values = ["docker", "oci"],
        ),
        "repo_tags": attr.string_list(
            doc = "The names that `docker load` gives the image, such as `example.com/app:latest`; for the format `docker` alone.",
        ),
    },
    toolchains = [TOOLCHAIN_TYPE],
)

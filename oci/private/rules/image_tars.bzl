"""The layers that an image makes of its attribute `tars`."""

load("//oci/private/common:arguments.bzl", "tool_arguments")
load("//oci/private/common:layer_action.bzl", "COMPRESSION_ATTR", "layer_action")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:layers.bzl", "OCILayersInfo")

def _image_tars_impl(ctx):
    layers = []
    for index, archive in enumerate(ctx.files.tars):
        content = tool_arguments(ctx, "layer")
        content.add(archive, format = "--tar=%s")
        layers.append(layer_action(
            ctx,
            name = "{}.{}".format(ctx.label.name, index),
            arguments = content,
            inputs = depset([archive]),
            compression = ctx.attr.compression,
            archive = archive,
        ))
    return [
        DefaultInfo(files = depset([layer.blob for layer in layers])),
        OCILayersInfo(layers = layers),
    ]

image_tars = rule(
    implementation = _image_tars_impl,
    doc = """Makes a layer of each archive.

It is a target of its own, so that the layers are built once and not in each configuration of the image.""",
    attrs = {
        "compression": COMPRESSION_ATTR,
        "tars": attr.label_list(doc = "The archives.", allow_files = True),
    },
    provides = [OCILayersInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

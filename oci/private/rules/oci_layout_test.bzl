"""The test that a layout is what the OCI image spec says."""

load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load("//oci/private/common:run_tool.bzl", "TEST_EXEC_GROUPS", "runfiles_path", "test_tool")
load("//oci/private/providers:unnamed_parents.bzl", "UnnamedParentsInfo")

def _oci_layout_test_impl(ctx):
    found = layout_input(ctx)
    arguments = ctx.actions.args()
    arguments.add("verify")
    if ctx.attr.sparse:
        arguments.add("--sparse")
    files = []
    if UnnamedParentsInfo in ctx.attr.layout:
        for layer in ctx.attr.layout[UnnamedParentsInfo].layers:
            pair = [layer.descriptor, layer.unnamed_parents]
            arguments.add_all("--unnamed-parents", pair, map_each = runfiles_path)
            files += pair
    arguments.add_all([found.path], map_each = runfiles_path, expand_directories = False)
    return test_tool(ctx, arguments, ctx.runfiles(files, transitive_files = found.inputs))

oci_layout_test = rule(
    implementation = _oci_layout_test_impl,
    doc = """Tests that a directory is an OCI image layout (OCI image spec, image-layout.md).

It reads every blob: presence, size, digest and media type of all that the layout's index leads to, and that
each image's `diff_ids` are those of its layers. A test that fails prints all faults.

Of the layout of an `oci_image_layout`, it also tests that no directory which is in an `oci_image_layer` only because something
is in it hides a link of the layers below, or has another mode or owner than there.""",
    attrs = {
        "layout": LAYOUT_ATTR,
        "sparse": attr.bool(
            doc = """Whether an index may list images of which the layout holds nothing, or no layer, as long as it
holds another one below that index: so it is when a base's index was pulled for some `platforms` only, and is itself the
image of the layout.""",
        ),
    },
    exec_groups = TEST_EXEC_GROUPS,
    test = True,
)

"""The test that a layout is what the OCI image spec says."""

load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load("//oci/private/common:run_tool.bzl", "TEST_EXEC_GROUPS", "runfiles_path", "test_tool")

def _oci_layout_test_impl(ctx):
    found = layout_input(ctx)
    arguments = ctx.actions.args()
    arguments.add("verify")
    if ctx.attr.sparse:
        arguments.add("--sparse")
    arguments.add_all([found.path], map_each = runfiles_path, expand_directories = False)
    return test_tool(ctx, arguments, ctx.runfiles(transitive_files = found.inputs))

oci_layout_test = rule(
    implementation = _oci_layout_test_impl,
    doc = """Tests that a directory is an OCI image layout (OCI image spec, image-layout.md).

It reads every blob: presence, size, digest and media type of all that the layout's index leads to, and that
each image's `diff_ids` are those of its layers. A test that fails prints all faults.""",
    attrs = {
        "layout": LAYOUT_ATTR,
        "sparse": attr.bool(
            doc = """Whether an index may list manifests that the layout does not hold, as long as it holds
one of them: so it is when a base's index was pulled for some `platforms` only, and is itself the image of
the layout.""",
        ),
    },
    exec_groups = TEST_EXEC_GROUPS,
    test = True,
)

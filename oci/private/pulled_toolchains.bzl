"""The repository that tells Bazel where the layers of the declared bases are."""

load(":pull_repository.bzl", "PULLED_TOOLCHAIN_TYPE")

_BUILD_FILE = """\
toolchain(
    name = {name},
    target_settings = [{enabled}],
    toolchain = "@{base}_all//:blobs",
    toolchain_type = "@{base}//:{type}",
)
"""

def _pulled_toolchains_impl(rctx):
    rctx.file("BUILD.bazel", "\n".join([
        _BUILD_FILE.format(
            name = repr(base),
            base = base,
            enabled = repr(str(Label("//oci:pull_all_enabled"))),
            type = PULLED_TOOLCHAIN_TYPE,
        )
        for base in rctx.attr.bases
    ]))

pulled_toolchains = repository_rule(
    implementation = _pulled_toolchains_impl,
    doc = """Holds a toolchain for each base that the module extension declares, which leads to its layers.

`toolchain` names its target without depending on it, so nothing fetches a base's layers but the
resolution of that toolchain, where `//oci:pull_all` is set.""",
    attrs = {
        "bases": attr.string_list(doc = "The names of the bases' repositories.", mandatory = True),
    },
)

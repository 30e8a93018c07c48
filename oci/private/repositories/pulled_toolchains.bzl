"""The repository that tells Bazel where the layers of the declared bases are."""

_TOOLCHAIN = """\
toolchain(
    name = {name},
    target_settings = [{enabled}],
    toolchain = "@{base}_all//:blobs",
    toolchain_type = "//types:{base}",
)
"""

_TYPE = """\
toolchain_type(
    name = {name},
    visibility = ["//visibility:public"],
)
"""

def _pulled_toolchains_impl(rctx):
    rctx.file("BUILD.bazel", "\n".join([
        _TOOLCHAIN.format(
            name = repr(base),
            base = base,
            enabled = repr(str(Label("//oci:pull_all_enabled"))),
        )
        for base in rctx.attr.bases
    ]))
    rctx.file("types/BUILD.bazel", "\n".join([
        _TYPE.format(name = repr(base))
        for base in rctx.attr.bases
    ]))

pulled_toolchains = repository_rule(
    implementation = _pulled_toolchains_impl,
    doc = """Holds a toolchain for each base that the module extension declares, which leads to its layers.

The toolchains' types are here too, and not with the bases, because Bazel reads the types of all toolchains, and so
fetches their repositories, when it looks for any toolchain, such as a compiler.

`toolchain` names its target without depending on it, so nothing fetches a base's layers but the
resolution of that toolchain, where `//oci:pull_all` is set.""",
    attrs = {
        "bases": attr.string_list(doc = "The names of the bases' repositories.", mandatory = True),
    },
)

"""The rule for no scanner."""

load("//oci/private/providers:scan.bzl", "OCIScannerInfo")

no_scanner = rule(
    implementation = lambda ctx: [OCIScannerInfo(
        database = [],
        java_database = [],
        kind = None,
        kinds = [],
        lister = None,
        name = str(ctx.label),
        network = False,
        program = None,
    )],
    doc = "What `//oci:scanner` is until a build is set to a scanner.",
    provides = [OCIScannerInfo],
)

"""The rule for no scanner."""

load("//oci/private/providers:scan.bzl", "OCIScannerInfo")

no_scanner = rule(
    implementation = lambda ctx: [OCIScannerInfo(
        database = None,
        database_metadata = None,
        java_database = [],
        name = str(ctx.label),
        network = False,
        program = None,
    )],
    doc = "What `//oci:scanner` is until a build is set to a scanner.",
    provides = [OCIScannerInfo],
)

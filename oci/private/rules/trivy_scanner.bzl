"""The rule for Trivy as the scanner of a build."""

load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS", "database_files", "scanner_attrs", "scanner_info")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":scanner_program.bzl", "scanner_program")

_KINDS = ["license", "misconfiguration", "secret"]

def _trivy_scanner_impl(ctx):
    unknown = [kind for kind in ctx.attr.kinds if kind not in _KINDS]
    if unknown:
        fail("{}: kinds has {}, but beside vulnerabilities there are {}".format(ctx.label, repr(unknown[0]), ", ".join(_KINDS)))
    given = database_files(ctx)
    files = {file.basename: file for file in given if file.basename in ("trivy.db", "trivy-java.db")}
    for file in given:
        for name in ["trivy.db", "trivy-java.db"]:
            if file.basename == "metadata.json" and name in files and file.dirname == files[name].dirname:
                files[name + ".metadata"] = file
    for name in ["trivy.db", "trivy.db.metadata"]:
        if name not in files:
            fail("{}: databases have no {}: name an oci.pull of a database of Trivy's, such as ghcr.io/aquasecurity/trivy-db".format(
                ctx.label,
                "metadata.json beside trivy.db" if name.endswith("metadata") else name,
            ))
    java = [files[name] for name in ["trivy-java.db", "trivy-java.db.metadata"] if name in files]
    if len(java) == 1:
        fail("{}: databases have no metadata.json beside trivy-java.db".format(ctx.label))
    return [scanner_info(
        ctx,
        kind = "trivy",
        kinds = ["vulnerability"] + ctx.attr.kinds,
        database = [files["trivy.db"], files["trivy.db.metadata"]],
        java_database = java,
        lister = ctx.attr.program,
    )]

_trivy_scanner = rule(
    implementation = _trivy_scanner_impl,
    attrs = scanner_attrs() | {"kinds": attr.string_list()},
    exec_groups = SCAN_EXEC_GROUPS,
    provides = [OCIScannerInfo],
)

def trivy_scanner(name, databases, image = None, program = None, kinds = [], network = False, **kwargs):
    """Makes Trivy the scanner of a build, if `--@oci_pull_all//oci:scanner` names it.

    Args:
      name: the target's name.
      databases: labels of its databases: `@NAME` of an `oci.pull` of `ghcr.io/aquasecurity/trivy-db`, and of
        `ghcr.io/aquasecurity/trivy-java-db` where there are Java archives; or of files `trivy.db` and `metadata.json`.
      image: the label of Trivy's image, `@NAME` of an `oci.pull` of `ghcr.io/aquasecurity/trivy`. Either this or
        `program` must be given.
      program: the label of Trivy's program, perhaps a `select`, which chooses for the platform that it runs on.
      kinds: what it looks for beside vulnerabilities: `license`, for those of packages; `secret` and `misconfiguration`, for
        which it reads the layers once more, and which it finds by the rules that are in itself. A policy says which of them fail.
      network: whether it may use the network, which it does not need.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    program = scanner_program(name + ".program", image, program, "/usr/local/bin/trivy")
    _trivy_scanner(
        name = name,
        databases = databases,
        kinds = kinds,
        network = network,
        program = program,
        **kwargs
    )

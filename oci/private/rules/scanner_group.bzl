"""The rule for several scanners as those of a build."""

load("//oci/private/providers:scan.bzl", "OCIScannerGroupInfo", "OCIScannerInfo")

def _scanner_group_impl(ctx):
    kinds = {}
    for target in ctx.attr.scanners:
        scanner = target[OCIScannerInfo]
        if scanner.kind in kinds:
            fail("{}: scanners has both {} and {}, which are of one kind, {}: who found something would not be known".format(
                ctx.label,
                kinds[scanner.kind],
                scanner.name,
                scanner.kind,
            ))
        kinds[scanner.kind] = scanner.name
    return [OCIScannerGroupInfo(scanners = [target[OCIScannerInfo] for target in ctx.attr.scanners])]

scanner_group = rule(
    implementation = _scanner_group_impl,
    doc = """Makes several scanners those of a build, if `--@oci_pull_all//oci:scanner` names it.

Each looks into each image, and into each base once. What they find is judged as one: what two of them found is one finding, with
the names of both, and a scan that cannot be trusted of one of them makes that of the image so. Of the kinds that a policy has, each must
be looked for by at least one.""",
    attrs = {
        "scanners": attr.label_list(
            doc = "The scanners, each of another kind: a `trivy_scanner`, a `grype_scanner`, an `osv_scanner`, a `clamav_scanner`. Of what several found, the name is that of the first.",
            allow_empty = False,
            mandatory = True,
            providers = [OCIScannerInfo],
        ),
    },
    provides = [OCIScannerGroupInfo],
)

"""The rule for the artifact of a pulled repository."""

load("//oci/private/common:pulled_targets.bzl", "all_pulled", "pulled_toolchains")
load("//oci/private/providers:artifact.bzl", "OCIArtifactFilesInfo", "OCIArtifactInfo")

def _pulled_artifact_impl(ctx, toolchain_type):
    return [
        DefaultInfo(files = depset([ctx.file.manifest])),
        OCIArtifactInfo(
            artifact_type = ctx.attr.artifact_type,
            digest = ctx.attr.digest,
            files = all_pulled(ctx, toolchain_type, OCIArtifactFilesInfo),
            manifest = ctx.file.manifest,
        ),
    ]

def pulled_artifact_rule(toolchain_type = None):
    """Makes the rule for the artifact of one pulled repository.

    Args:
      toolchain_type: the label of the toolchain type that finds the files, if they are in another repository.

    Returns:
      A rule.
    """
    return rule(
        implementation = lambda ctx: _pulled_artifact_impl(ctx, toolchain_type),
        doc = "The artifact of a pulled repository.",
        attrs = {
            "artifact_type": attr.string(doc = "What it is.", mandatory = True),
            "digest": attr.string(doc = "The manifest's digest.", mandatory = True),
            "manifest": attr.label(doc = "The manifest.", allow_single_file = True, mandatory = True),
            "pulled": attr.label(
                doc = "The target that has the files, if it is in the same repository.",
                providers = [OCIArtifactFilesInfo],
            ),
        },
        provides = [OCIArtifactInfo],
        toolchains = pulled_toolchains(toolchain_type),
    )

"""The target platform in the names of the OCI image spec."""

load("//oci/private/providers:image.bzl", "OCIPlatformInfo")

def _target_platform_impl(ctx):
    return [OCIPlatformInfo(
        os = ctx.attr.os,
        architecture = ctx.attr.architecture,
        variant = ctx.attr.variant,
    )]

target_platform = rule(
    implementation = _target_platform_impl,
    doc = "Carries what `select` makes of the target platform's constraints.",
    attrs = {
        "architecture": attr.string(doc = "`GOARCH`; empty when no constraint names one."),
        "os": attr.string(doc = "`GOOS`."),
        "variant": attr.string(doc = "The processor's variant."),
    },
)

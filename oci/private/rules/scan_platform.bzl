"""The rule for the toolchain of the platforms that scanners run on rather than on others."""

scan_platform = rule(
    implementation = lambda ctx: [platform_common.ToolchainInfo()],
    doc = "Makes a toolchain of nothing: what counts is on which execution platforms it is.",
)

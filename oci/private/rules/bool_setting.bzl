"""The rule for a build setting that is on or off."""

load("//oci/private/providers:setting.bzl", "OCISettingInfo")

bool_setting = rule(
    implementation = lambda ctx: [OCISettingInfo(value = ctx.build_setting_value)],
    build_setting = config.bool(flag = True),
    doc = "A boolean build setting.",
    provides = [OCISettingInfo],
)

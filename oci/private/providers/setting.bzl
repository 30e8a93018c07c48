"""What a build setting says."""

OCISettingInfo = provider(
    doc = "A boolean build setting.",
    fields = {"value": "bool: whether it is on."},
)

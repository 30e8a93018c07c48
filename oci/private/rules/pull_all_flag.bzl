"""The build setting that tells whether bases come with all their layers."""

pull_all_flag = rule(
    implementation = lambda _ctx: [],
    build_setting = config.bool(flag = True),
    doc = "A boolean build setting.",
)

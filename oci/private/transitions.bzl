"""Transitions on the build setting that tells whether bases come with all their layers."""

_PULL_ALL = Label("//oci:pull_all")

def _on_impl(_settings, _attr):
    return {str(_PULL_ALL): True}

def _off_impl(_settings, _attr):
    return {str(_PULL_ALL): False}

# oci_image_layout puts it on the image, whose base then brings its layers.
pull_all_on = transition(
    implementation = _on_impl,
    inputs = [],
    outputs = [str(_PULL_ALL)],
)

# oci_image puts it on the layers, which are thereby the same targets in both configurations and are
# built once.
pull_all_off = transition(
    implementation = _off_impl,
    inputs = [],
    outputs = [str(_PULL_ALL)],
)

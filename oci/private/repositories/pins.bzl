"""The repository that tells `pin` what the root module declares."""

# Its name.
PINS = "oci_pins"

def _pins_impl(rctx):
    rctx.file("pins.json", rctx.attr.pins)
    rctx.file("BUILD.bazel", "exports_files([\"pins.json\"])\n")

pins = repository_rule(
    implementation = _pins_impl,
    doc = "Holds the pulls of the root module, as Bazel has evaluated them.",
    attrs = {
        "pins": attr.string(doc = "A list of pulls, as JSON.", mandatory = True),
    },
)

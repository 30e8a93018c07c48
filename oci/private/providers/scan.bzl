"""What a scan is made of: a scanner, what it found in images, and a policy."""

OCIScannerInfo = provider(
    doc = "A scanner. `trivy_scanner`, `grype_scanner`, `osv_scanner` and `clamav_scanner` provide it.",
    fields = {
        "database": "list of File: the database of advisories, and what describes it.",
        "java_database": "list of File: the database of Java archives and its `metadata.json`; empty when there is none.",
        "kind": "string: `trivy`, `grype`, `osv-scanner` or `clamav`; None where no scanner is set.",
        "kinds": "list of string: the kinds of findings that it looks for.",
        "lister": """struct: the program that lists packages, as `program`, which may be another; None where `program` lists and matches
in one step.""",
        "name": "string: the label by which errors name it.",
        "network": "bool: whether it may use the network.",
        "program": """struct: the program that matches packages with the database: `run`, its FilesToRunProvider, and `config`, the
File of the configuration of the image that it is from, or None.""",
    },
)

OCIScannerGroupInfo = provider(
    doc = "Several scanners of one build. `scanner_group` provides it.",
    fields = {
        "scanners": "list of OCIScannerInfo: the scanners, each of another kind.",
    },
)

OCIScanInfo = provider(
    doc = "What the scanners of a build found in the images of a target.",
    fields = {
        "images": """list of struct: for each image, and for each scanner of it one beside the other, `platform`, its OCIPlatformInfo, or None where only
its layout says it; `inventory`, the File of its packages;
`findings`, the File of what is known against them; and `bases`, a list of struct, the images that it stands on, the nearest
first: `inventory`, and `labels`, a list of Label, those of the image and of the target that was named as base.
`label` is the Label of the target that makes the image, and `scanner` the OCIScannerInfo of what was found by.""",
        "skipped_scanner": "Label: the scanner of the build if it runs on none of the execution platforms, so that there are no images; else None.",
    },
)

OCIScanPolicyInfo = provider(
    doc = "What passes a scan. `oci_scan_policy` provides it.",
    fields = {
        "arguments": "list of string: what it says, as arguments of the tool.",
        "bases": "list of Label: the bases that have tests of their own.",
        "exceptions": "list of File: files with exceptions.",
        "kinds": "list of string: the kinds of findings that fail.",
        "label": "Label: the policy's target.",
    },
)
